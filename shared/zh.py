"""The field's Chinese words for the code's: what people read (glossary: docs/glossary.md)."""

from shared.case import Outcome, Reason, Stage, Status, Verdict

STATUSES = {
    Status.AWAITING_RECEPTION: "未见受理登记",
    Status.OPEN: "在办",
    Status.SUSPENDED: "中止",
    Status.COMPLETED: "已办结",
    Status.REJECTED: "不予受理",
    Status.WITHDRAWN: "已撤回",
}
STAGES = {Stage.RECEIVED: "待受理", Stage.IN_PROGRESS: "办理中", Stage.REPLIED: "已答复"}
OUTCOMES = {
    Outcome.ON_TIME: "按时办结",
    Outcome.LATE: "逾期办结",
    Outcome.OVERDUE: "逾期未办结",
    Outcome.PENDING: "在办未逾期",
    Outcome.REJECTED: "不予受理",
    Outcome.WITHDRAWN: "撤回",
}
VERDICTS = {
    Verdict.RUNNING: "计时中",
    Verdict.PAUSED: "已暂停",
    Verdict.ON_TIME: "按时",
    Verdict.LATE: "逾期完成",
    Verdict.OVERDUE: "逾期未完成",
    Verdict.VOID: "作废",
}
TARGETS = {"reply": "答复", "complete": "办结", "suspension": "中止"}
RUNGS = {
    "due_today": "今日到期",
    "overdue": "逾期",
    "escalated-1": "逾期第一次升级",
    "escalated-2": "逾期第二次升级",
    "suspended-long": "中止过久",
}
CLEARED = {
    "completed": "办结解除",
    "closed": "结束解除",
    "deadline_moved": "时限变动解除",
    "recomputed": "重算解除",
    "late_evidence": "迟到证据解除",
}
EVENTS = {
    "received": "接到",
    "accepted": "受理",
    "transferred": "转办",
    "recategorized": "调整类别",
    "extended": "延期",
    "suspended": "中止",
    "resumed": "恢复",
    "replied": "答复",
    "completed": "办结",
    "reopened": "重新办理",
    "rated": "评价",
    "rejected": "不予受理",
    "withdrawn": "撤回",
    "tally": "自报数",
}
REASONS = {
    Reason.ALREADY_RECEIVED: "已接到",
    Reason.ALREADY_ACCEPTED: "已受理",
    Reason.ALREADY_SUSPENDED: "已中止",
    Reason.NOT_SUSPENDED: "未中止",
    Reason.ALREADY_CLOSED: "已结束",
    Reason.NOT_CLOSED: "未结束",
    Reason.AFTER_DEADLINE: "已过截止时间",
    Reason.TOO_MANY_EXTENSIONS: "延期次数已用完",
    Reason.TOO_LONG: "延期过长",
    Reason.TOO_MANY_SUSPENSIONS: "中止次数已用完",
}
ROLES = {"city": "市级值班", "county": "县区值班", "auditor": "审计"}
NOTICE_STATES = {"pending": "待送达", "sent": "已送达", "failed": "未送达"}
