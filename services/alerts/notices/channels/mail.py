"""E-mail over SMTP: plain text, one message to all addresses of the channel, the same Message-ID at every attempt."""

import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

from services.alerts.notices.channels.outcome import SENT, Outcome, refused, retry
from services.alerts.notices.channels.post import SECONDS, ending, unreached
from services.alerts.notices.digests import Digest, lines, title
from services.alerts.notices.routing import Channel, Mailbox

WHOLE_SECONDS = 3 * SECONDS  # a conversation of a dozen answers


def send(channel: Channel, message: str, digest: Digest, now: datetime) -> Outcome:
    assert isinstance(channel.to, Mailbox)
    to = channel.to
    try:
        with _connected(to) as server:
            assert server.sock is not None
            with ending(server.sock, WHOLE_SECONDS):
                if to.user is not None and to.password is not None:
                    server.login(to.user, to.password.reveal())
                missed = server.send_message(letter(to, message, digest, now))
    except smtplib.SMTPRecipientsRefused as error:
        return _answered([code for code, _ in error.recipients.values()], "：收件地址都被拒收，请核对 to")
    except smtplib.SMTPAuthenticationError as error:  # its text may name the account
        return _answered([error.smtp_code], "：不能登录，请核对 user 和口令")
    except smtplib.SMTPSenderRefused as error:
        return _answered([error.smtp_code], "：发件地址被拒收，请核对 from")
    except smtplib.SMTPResponseException as error:
        return _answered([error.smtp_code])
    except smtplib.SMTPNotSupportedError:
        return refused("邮件服务器不支持所设的加密或登录，请核对 security")
    except ssl.SSLCertVerificationError:
        return retry("邮件服务器的证书不能验证，请核对 host 和证书")
    except (smtplib.SMTPException, OSError) as error:
        return retry(f"邮件服务器：{unreached(error)}，请核对 host、port 和 security")
    return Outcome("sent", f"有 {len(missed)} 个地址被拒收") if missed else SENT  # the others have it


def _answered(codes: list[int], remedy: str = "") -> Outcome:
    text = f"邮件服务器答 {'、'.join(str(code) for code in sorted(set(codes)))}{remedy}"
    return retry(text) if any(code < 500 for code in codes) else refused(text)


def _connected(to: Mailbox) -> smtplib.SMTP:
    """Encrypted as the channel says, and never less."""
    if to.security == "tls":
        return smtplib.SMTP_SSL(to.host, to.port, timeout=SECONDS, context=ssl.create_default_context())
    server = smtplib.SMTP(to.host, to.port, timeout=SECONDS)
    if to.security == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
    return server


def letter(to: Mailbox, message: str, digest: Digest, now: datetime) -> EmailMessage:
    found = EmailMessage()
    found["Subject"] = title(digest)[:150]
    found["From"], found["To"] = to.sender, ", ".join(to.to)
    found["Date"] = format_datetime(now)
    found["Message-ID"] = f"<{message}@{to.sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"
    page = [] if digest.page is None else ["", f"值班页面：{digest.page}"]
    found.set_content("\n".join([title(digest), "", *(line.replace("**", "") for line in lines(digest)), *page]) + "\n")
    return found
