"""Small texts of the deployment's files, which tests read as they are or with one thing changed."""

REGISTRY = """\
city = "临沧市"
[[platform]]
slug = "gengma"
name = "耿马自治县"
county = "gengma"
county_name = "耿马自治县"
[[platform]]
slug = "lincang"
name = "市政府"
county = "municipal"
county_name = "市本级"
"""
ANOTHER_CATEGORY = """\
[policy.categories.b]
name = "乙"
source = "试行办法"
reply = 3
complete = 3
"""
ANOTHER_PLATFORM = """\
[[platform]]
slug = "gongan"
name = "市公安局"
county = "municipal"
county_name = "市本级"
"""
HEAD = """\
[[policy]]
source = "试行办法"
default_category = "a"
"""
CATEGORY = """\
[policy.categories.a]
name = "甲"
source = "试行办法"
reply = 1
complete = 2
"""
POLICY = HEAD + CATEGORY
LATER = POLICY.replace("[[policy]]", "[[policy]]\neffective_from = 2022-07-01")
KEYWORDS = 'keywords = ["路灯", "井盖"]\n'
RUNGS = "[policy.alerts]\nescalate_after = [1, 3]\n"
HOURS_POLICY = """\
[[policy]]
source = "试行办法"
default_category = "a"
office_hours = ["08:30-12:00", "14:30-18:00"]
[policy.categories.a]
name = "甲"
source = "试行办法"
reply_hours = 2
complete_hours = 3.5
"""
NOTICE = """\
[[notice]]
year = 2027
source = "国办发明电〔2026〕0号"
rest = ["2027-01-01", "2027-02-08"]
work = ["2027-02-20"]
"""
LOCAL = """\
[[local]]
county = "gengma"
date = "2026-04-15"
rest = true
name = "泼水节"
source = "县政府办通知"
"""


def edit(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def head(line: str) -> str:
    """A policy with one more line before its categories."""
    return f"{HEAD}{line}\n{CATEGORY}"
