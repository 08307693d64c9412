"""Examples of every event type: the OpenAPI document and docs/api.md show them, and a test pushes each of them."""

from typing import Any


def _event(number: int, name: str, time: str, **data: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"zk-000123-{number}",
        "source": "/platforms/zhenkang",
        "type": f"liuyan.message.{name}.v1",
        "subject": "zk-000123",
        "time": f"{time}+08:00",
    }
    return event | {"data": data} if data else event


EVENTS: dict[str, dict[str, Any]] = {
    "received": _event(
        1, "received", "2022-03-01T09:12:00", category="complaint", title="南伞镇夜间施工噪声扰民",
        content="连续三天夜里十一点以后还在施工，请问归哪个部门管？",
        contact={"name": "张某", "phone": "13800000000"},
    ),
    "accepted": _event(2, "accepted", "2022-03-01T10:00:00"),
    "transferred": _event(3, "transferred", "2022-03-01T10:30:00", to="县住建局", reason="属住建部门职责"),
    "recategorized": _event(4, "recategorized", "2022-03-01T11:00:00", category="help"),
    "suspended": _event(5, "suspended", "2022-03-02T09:00:00", reason="请留言人补充施工地点"),
    "resumed": _event(6, "resumed", "2022-03-03T15:20:00"),
    "extended": _event(7, "extended", "2022-03-04T09:00:00", working_days=5, approved_by="分管领导", reason="需现场核查"),
    "replied": _event(8, "replied", "2022-03-07T16:00:00", content="已现场核查并责令整改。"),
    "completed": _event(9, "completed", "2022-03-08T09:00:00"),
    "rated": _event(10, "rated", "2022-03-09T20:00:00", score=4),
    "reopened": _event(11, "reopened", "2022-03-10T08:30:00", reason="夜间又在施工"),
    "rejected": _event(12, "rejected", "2022-03-10T10:00:00", reason="duplicate", note="与前一件重复，已并案办理"),
    "withdrawn": _event(13, "withdrawn", "2022-03-10T11:00:00"),
    "tally": {
        "specversion": "1.0",
        "id": "zk-tally-2022-03-01",
        "source": "/platforms/zhenkang",
        "type": "liuyan.platform.tally.v1",
        "time": "2022-03-02T00:05:00+08:00",
        "data": {"date": "2022-03-01", "received": 1},
    },
}  # fmt: skip

BATCH = [EVENTS["received"], EVENTS["accepted"], EVENTS["tally"]]
