"""The reference of notices.toml: every key of the code is explained, and every example is taken."""

import base64
import json

import pytest

from services.alerts.notices.config import COMMON, KEYS, parse_notices
from services.alerts.notices.digests import Digest, Entry, Part, Standing
from services.alerts.notices.routing import Notices
from shared.rules import Ruleset
from tests.docs.markdown import blocks, read, section, spans, tables

PAGES = ["docs/notices.md", "docs/notices.zh-CN.md"]
TITLES = {
    "webhook": ("Webhook", "Webhook"), "wecom": ("企业微信", "企业微信"), "dingtalk": ("钉钉", "钉钉"),
    "email": ("E-mail", "电子邮件"), "alertmanager": ("Alertmanager", "Alertmanager"),
}  # fmt: skip
WHSEC = "whsec_" + base64.b64encode(bytes(32)).decode()


def parsed(text: str, rules: Ruleset) -> Notices:
    def read_file(name: str) -> str:
        return WHSEC if "secret" in name else "https://127.0.0.1/robot?key=k" if "url" in name else "password"

    return parse_notices(text, rules.registry, {"DINGTALK_SECRET": "SEC0"}, read_file)


@pytest.mark.parametrize("page", PAGES)
def test_every_example_is_taken(page: str, rules: Ruleset) -> None:
    examples = [block.text for block in blocks(read(page), "toml")]
    assert len(examples) == 1 + len(KEYS)
    kinds = [channel.kind for text in examples for channel in parsed(text, rules).channels]
    assert set(kinds) == set(KEYS)
    assert len(parsed("\n".join(examples), rules).channels) == len(kinds), "all in one file"


@pytest.mark.parametrize("page", PAGES)
def test_every_key_is_explained_and_no_other(page: str) -> None:
    place = PAGES.index(page)
    (rows,) = tables(section(read(page), ("Keys", "各项")[place]))
    assert [spans(row[0])[0] for row in rows] == ["page", "duty_hours", "keep_days", "channel", *COMMON]
    for kind, titles in TITLES.items():
        (rows,) = tables(section(read(page), titles[place]))
        assert {span for row in rows for span in spans(row[0])} == set(KEYS[kind]), kind


@pytest.mark.parametrize("page", PAGES)
def test_the_body_of_a_webhook_has_the_members_of_the_code(page: str) -> None:
    (block,) = blocks(read(page), "json")
    body = json.loads(block.text)
    assert body["type"] == "liuyan.alerts.told"
    data = body["data"]
    assert list(data) == list(Digest.__struct_fields__)
    (part,) = data["parts"]
    assert list(part) == list(Part.__struct_fields__)
    assert list(part["oldest"][0]) == [name for name in Entry.__struct_fields__ if name != "reason"]
    assert list(data["standing"]["overdue"]) == list(Standing.__struct_fields__)
