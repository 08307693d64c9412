"""The first quarter of 2022 as the ten portals would have pushed it: synthetic events, in the order of their arrival.

Only the totals were published (`PORTALS`; five left open). Every message, answer, name and number is invented: what
shows something is told in `LEFT_OPEN`, `CLOSED_LATE` and `TURNS`, everyday cases make up the numbers. No clock is read.
"""

import random
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple, TypeAlias

from shared.calendars import build_calendars
from shared.times import SHANGHAI, midnight
from shared.workdays import ONE_DAY

Json: TypeAlias = dict[str, object]
QUARTER = "2022Q1"
AS_OF = datetime(2022, 4, 11, tzinfo=SHANGHAI)
# Messages received, prefix, level and places. 临政办字〔2022〕49号：第一季度共接到网民留言114条，镇康县逾期未办结5条。
PORTALS = {
    "lincang": (29, "lc", "市", "临翔区凤翔街道 临翔区忙畔街道 云县爱华镇 凤庆县凤山镇 耿马县孟定镇 双江县勐勐镇"),
    "gongan": (0, "ga", "市", "临翔区凤翔街道"),
    "linxiang": (21, "lx", "区", "凤翔街道 忙畔街道 博尚镇 蚂蚁堆乡 章驮乡 圈内乡 马台乡 邦东乡"),
    "yunxian": (1, "yx", "县", "爱华镇 漫湾镇 幸福镇"),
    "fengqing": (7, "fq", "县", "凤山镇 鲁史镇 小湾镇 营盘镇 勐佑镇 雪山镇"),
    "yongde": (10, "yd", "县", "德党镇 永康镇 小勐统镇 勐板乡 亚练乡 班卡乡"),
    "zhenkang": (28, "zk", "县", "南伞镇 凤尾镇 勐捧镇 勐堆乡 木场乡 忙丙乡 军赛乡"),
    "gengma": (1, "gm", "县", "孟定镇 勐撒镇 勐永镇"),
    "cangyuan": (14, "cy", "县", "勐董镇 岩帅镇 勐省镇 芒卡镇 糯良乡 勐来乡 班洪乡"),
    "shuangjiang": (3, "sj", "县", "勐勐镇 勐库镇 沙河乡 大文乡"),
}
PUSH_COMPLETED = ("lincang", "zhenkang")  # these push `completed` also where the final reply has completed already
PUSHES = {"yunxian": (0, 5), "gengma": (0, 24 * 60)}  # these push every event again, so many minutes later
MINUTE, WRITING_HOURS = timedelta(minutes=1), ((8.5, 11.9), (8.5, 18), (14, 18), (19, 24))
SEED, FIRST_DAY, DAYS, LAST_CLOSING, TALLY_DAY = 2648, date(2022, 1, 1), 90, date(2022, 4, 8), date(2022, 3, 31)
CALENDAR = build_calendars(first=date(2021, 12, 1), last=date(2022, 5, 31)).national

OPENINGS, CLOSINGS = ("您好！", "你好，", "领导好！", "打扰了，", ""), ("谢谢！", "盼复。", "麻烦了，谢谢。", "")
CONTACTS = ("张示例", "李样本", "王虚构", "杨假设", "罗演示", "字模拟")

# Category, most working days to the reply and to the completion; unit｜title｜the citizen's words｜the unit's answer
TOPICS = """
simple_inquiry 1 1
公安局｜居住证到期怎样签注｜我在{place}租房居住，居住证签注要带哪些材料？｜请带身份证和租房合同到派出所办理，不收费。
公安局｜新生儿落户怎样办理｜孩子刚在{place}出生，落户随父亲还是随母亲？｜都可以，请带出生医学证明到派出所办理。
人社局｜社保卡丢失怎样补办｜母亲在{place}赶街时丢了社保卡，怎样补办？｜请先拨打12333挂失，再到发卡银行补办。
医保局｜居民医保在哪里缴费｜我家住{place}，城乡居民医保手机上能缴吗？｜手机上可以缴，也可以请村委会或者社区代缴。
交通运输局｜{place}末班公交是几点｜从{place}回城区的末班公交车现在是几点？｜末班车为18:30，街天延长到19:30。
教体局｜小学转学要哪些手续｜我们搬到{place}居住，孩子转学要办哪些手续？｜请先向转入学校申请，其余手续由两校办理。
自然资源局｜不动产登记证明怎样打印｜在{place}买了房，打印要本人到场吗？｜本人可在自助机上打印，委托他人的请带委托书。
水务局｜停水检修计划在哪里看｜这几天{place}早上停水，检修计划在哪里看？｜检修计划提前一天在公众号公布，现已恢复供水。
民政局｜高龄津贴怎样申请｜家里老人住在{place}，今年满八十岁，津贴怎样申请？｜请带户口簿和银行卡到村委会登记。
市场监管局｜个体户年报怎样填报｜我在{place}开小吃店，年报最晚什么时候填？｜请在6月30日前登录企业信用信息公示系统填报。
住建局｜物业能停水催缴物业费吗｜{place}一个小区的物业停水催缴物业费，合法吗？｜不合法，已责令该物业立即恢复供水。
inquiry 5 5
人社局｜外出务工怎样续缴养老保险｜我在外省务工，户口在{place}，能在老家接着缴吗？｜未参加职工养老保险的，可以续缴。
农业农村局｜老茶园改造补贴怎样申报｜我家在{place}有六亩老茶园，改造补贴怎样申报？｜请向村委会报名，由乡镇核实后统一上报。
农业农村局｜耕地地力补贴何时发放｜{place}今年的耕地地力保护补贴什么时候发放？｜公示结束后打入“一卡通”，预计在六月底前。
教体局｜随迁子女入学要哪些条件｜我们在{place}做生意，户口在外地，孩子怎样报名？｜凭居住证在公布的时间报名即可。
交通运输局｜{place}通村公路何时硬化｜{place}到我们村的三公里土路，什么时候能硬化？｜已列入今年计划，正在办理前期手续。
住建局｜公租房轮候怎样查询｜去年在{place}申请了公租房，现在排到第几位？｜您已通过审核，轮候名册在政务大厅公示。
医保局｜异地住院怎样报销｜父亲户口在{place}，在昆明住院，回来怎样报销？｜请带发票和出院小结到医保窗口办理。
自然资源局｜修路占地的补偿标准是多少｜修路占了{place}我家两亩地，补偿标准是多少？｜按征地区片综合地价计算，公示后兑付。
help 5 10
水务局｜{place}寨子吃水困难｜{place}一个寨子的水管经常断水，请帮助解决。｜已更换破损的主管，抢修期间每天送水。
交通运输局｜塌方堵住进寨的路｜下雨后{place}进寨的路塌方，车辆进不去，请帮忙清理。｜已调挖掘机清理，并设置了警示标志。
民政局｜家人生病请求临时救助｜家住{place}，家人生病住院，负担很重，想申请救助。｜已请乡镇入户核实，请备好住院票据。
人社局｜工地拖欠工资请求帮助｜{place}的工地早已完工，工资还没有结清，请帮忙协调。｜已约谈施工方，将跟踪到全部兑付。
complaint 5 14
综合执法局｜{place}烧烤摊深夜扰民｜{place}路边烧烤摊经营到凌晨，音响声音很大。｜已要求摊主停用音响，并将加强夜间巡查。
住建局｜{place}工地夜间施工噪声｜{place}一处工地夜里十一点以后还在施工，孩子没法睡。｜已责令施工单位停止夜间作业。
市场监管局｜超市出售过期食品｜在{place}一家超市买到过期的牛奶，店家不肯退。｜已立案调查，过期食品已下架，店家已退货。
suggestion 5 10
公安局｜{place}学校路口建议装红绿灯｜{place}学校门口车多人多，建议装红绿灯。｜已列入今年的计划，安装前由交警值守。
交通运输局｜建议增加街天的公交班次｜{place}街天坐车的人多，一小时一班不够。｜已商定街天上午加开四班，下月试行。
correction 3 3
政务服务局｜办事指南地址有误｜网站上{place}便民服务中心的地址还是旧的，请更正。｜地址已经更正，感谢您的提醒。
政府办公室｜网站文章有错别字｜网站介绍{place}的文章把“按时”写成了“按是”。｜错别字已经更正，感谢您的监督。
"""

# platform｜title｜what is special; below it the life: MM-DD HH:MM event [argument] [>MM-DD HH:MM of a late arrival], …
# The five that 镇康县 left open:
LEFT_OPEN = """
zhenkang｜{place}烧烤摊深夜扰民｜逾期未办结：只作过阶段性答复，答复和办结都已逾期（3月25日24:00到期）
  03-04 21:40 received, 03-07 09:02 accepted, 03-10 15:30 interim
zhenkang｜家人生病请求临时救助｜逾期未办结：3月18日已作最终答复，但一直没有办结（3月28日24:00到期）
  03-14 10:26 received, 03-14 11:05 accepted, 03-18 16:20 replied
zhenkang｜耕地地力补贴何时发放｜逾期未办结：收到以后一直没有受理（3月30日24:00到期）
  03-23 10:05 received
zhenkang｜居住证到期怎样签注｜逾期未办结：简单咨询，受理以后没有答复（3月29日24:00到期）
  03-28 17:35 received, 03-29 08:50 accepted
zhenkang｜异地住院怎样报销｜逾期未办结：转县医保局后无人答复；4月2日调休上班计入，清明三天不计（4月7日24:00到期）
  03-30 09:48 received, 03-30 10:30 accepted, 03-31 15:12 transferred 县医保局
"""
# The four that were closed late:
CLOSED_LATE = """
linxiang｜随迁子女入学要哪些条件｜逾期办结：1月29日（星期六）调休上班，当天24:00到期，2月7日才答复
  01-24 15:10 received, 01-24 16:02 accepted, 02-07 10:20 replied
cangyuan｜{place}工地夜间施工噪声｜逾期办结：投诉举报15个工作日，3月2日24:00到期，3月4日才办结
  02-09 20:15 received, 02-10 08:55 accepted, 02-16 16:40 replied, 03-04 17:05 completed, 03-05 12:40 rated 2
fengqing｜新生儿落户怎样办理｜逾期办结：星期五下班前收到的简单咨询，星期一（3月14日）24:00到期，星期二才答复
  03-11 17:52 received, 03-14 09:10 accepted, 03-15 10:32 replied
yongde｜塌方堵住进寨的路｜逾期办结：办结只记到日期，即3月30日00:00，正是截止的时刻；不早于截止时间就是逾期
  03-15 09:30 received, 03-15 10:12 accepted, 03-21 11:00 replied, 03-30 00:00 completed
"""
# The turns that a case can take, all closed in time:
TURNS = """
zhenkang｜社保卡丢失怎样补办｜跨春节：1月30日（调休上班）收到，2月7日24:00到期，当天16:48答复
  01-30 10:12 received, 01-30 10:55 accepted, 02-07 16:48 replied, 02-07 16:50 completed, 02-08 20:03 rated 5
lincang｜工地拖欠工资请求帮助｜中止与恢复：2月24日至3月7日等待补充材料，其间不计时，到期日由3月7日推到3月17日
  02-21 09:35 received, 02-24 09:30 suspended, 03-07 10:00 resumed, 03-09 15:40 replied, 03-15 11:10 completed
yongde｜超市出售过期食品｜延期：到期前批准延长5个工作日，到期日由3月7日推到3月14日，3月11日办结
  02-14 10:48 received, 02-14 11:30 accepted, 02-18 15:25 replied, 03-04 16:00 extended 5, 03-11 16:35 completed
cangyuan｜公租房轮候怎样查询｜转办单位：受理当天转县住建局，时限不变，统计仍归沧源自治县
  03-01 09:15 received, 03-01 10:02 accepted, 03-01 14:40 transferred 县住建局, 03-07 16:10 replied
lincang｜{place}通村公路何时硬化｜转办平台：市政府转临翔区办理，时限不变，统计仍归市政府
  03-08 09:20 received, 03-08 10:00 accepted, 03-08 11:15 transferred linxiang, 03-14 15:40 replied
linxiang｜物业能停水催缴物业费吗｜调整类别：作为简单咨询收到，次日改为投诉举报，办结时限由1个工作日变为15个工作日
  03-02 09:30 received, 03-03 10:00 recategorized complaint, 03-08 15:05 replied, 03-18 16:30 completed
linxiang｜修路占地的补偿标准是多少｜重新办理：网民评1分后重新办理，第二轮自3月14日起另计时限，按时答复
  03-07 08:45 received, 03-10 16:05 replied, 03-10 20:31 rated 1, 03-14 14:20 reopened, 03-18 10:40 replied
shuangjiang｜{place}学校路口建议装红绿灯｜阶段性答复：阶段性答复不算答复，其后最终答复和办结都按时
  02-15 11:20 received, 02-15 14:45 accepted, 02-17 10:30 interim, 02-21 15:15 replied, 02-25 16:20 completed
zhenkang｜修路占地的补偿标准是多少｜答复迟到：3月16日到期前已答复，事件3月18日才推送到，其间显示逾期，收到后更正为按时
  03-09 10:40 received, 03-09 11:20 accepted, 03-16 17:20 replied >03-18 09:05
lincang｜新生儿落户怎样办理｜乱序：受理、答复、办结的事件先到，留言本身的事件隔了四天才到，结果不变
  02-17 09:05 received >02-21 08:32, 02-17 09:40 accepted, 02-18 10:15 replied, 02-18 10:17 completed
yunxian｜居民医保在哪里缴费｜重复推送：平台五分钟后把每条事件又推送一遍，只算一次
  01-18 15:22 received, 01-18 16:05 accepted, 01-19 10:40 replied
"""

STEP = re.compile(r"(\d\d-\d\d \d\d:\d\d) ([a-z]+)(?: ([^\s,>]+))?(?: >(\d\d-\d\d \d\d:\d\d))?")
ARGUMENT = {"transferred": "to", "recategorized": "category", "extended": "working_days", "rated": "score"}
SAID: dict[str, Json] = {
    "transferred": {"reason": "属于该单位职责"}, "extended": {"approved_by": "分管领导", "reason": "检验结果未出"},
    "suspended": {"reason": "请网民补充材料"}, "reopened": {"reason": "网民反映问题没有解决"},
    "interim": {"content": "您的留言已收到，正在核实，有结果后马上答复您。", "interim": True},
}  # fmt: skip


class Topic(NamedTuple):
    category: str
    reply_days: int
    complete_days: int
    unit: str
    question: str
    answer: str


class Step(NamedTuple):
    name: str
    time: datetime
    arrival: datetime
    argument: str = ""


class Case(NamedTuple):
    title: str
    topic: Topic
    steps: list[Step]
    special: str = ""


def quarter_events() -> list[Json]:
    """The events of all messages of the quarter, and the tallies of its last day, in the order of their arrival."""
    cases, rng = _cases(), random.Random(SEED)  # noqa: S311 (a story, not a secret)
    arrivals: list[tuple[datetime, Json]] = []
    for number, (key, case) in enumerate(cases.items()):
        platform, subject = key.split("/")
        for n, (step, data) in enumerate(zip(case.steps, _data(platform, case, number, rng), strict=True), 1):
            name = step.name.replace("interim", "replied")
            event = _event(platform, f"message.{name}", f"{subject}-{n}", step.time, data, subject=subject)
            arrivals += [(step.arrival + late * MINUTE, {**event}) for late in PUSHES.get(platform, (0,))]
    for platform, (_, prefix, _, _) in PORTALS.items():
        received = sum(k.startswith(platform) and c.steps[0].time.date() == TALLY_DAY for k, c in cases.items())
        at, data = midnight(TALLY_DAY + ONE_DAY), {"date": TALLY_DAY.isoformat(), "received": received}
        arrivals.append((at, _event(platform, "platform.tally", f"{prefix}-tally-{TALLY_DAY}", at, data)))
    return [event for _, event in sorted(arrivals, key=lambda arrival: arrival[0])]


def story_cases() -> dict[str, str]:
    """Key -> what is special in the case, in one sentence."""
    return {key: case.special for key, case in _cases().items() if case.special}


def _cases() -> dict[str, Case]:
    """All cases by key, numbered per platform in the order of reception."""
    topics, cases, rng = _topics(), {}, random.Random(SEED)  # noqa: S311
    for platform, (total, prefix, _, _) in PORTALS.items():
        own = list(_told(platform, topics))
        untold = sorted(set(topics) - {case.title for case in own})
        own += [Case(t, topics[t], _everyday(topics[t], platform, rng)) for t in rng.sample(untold, total - len(own))]
        for number, case in enumerate(sorted(own, key=lambda case: case.steps[0].time), 1):
            cases[f"{platform}/{prefix}-2022-{number:04}"] = case
    return cases


def _topics() -> dict[str, Topic]:
    topics = {}
    for category, reply_days, complete_days, rows in re.findall(r"([a-z_]+) (\d+) (\d+)\n((?:.+｜.+\n)+)", TOPICS):
        for unit, title, question, answer in (row.split("｜") for row in rows.splitlines()):
            topics[title] = Topic(category, int(reply_days), int(complete_days), unit, question, answer)
    return topics


def _told(platform: str, topics: dict[str, Topic]) -> Iterator[Case]:
    row = re.compile(rf"^{platform}｜(.+)｜(.+)\n((?:  .+\n)+)", re.MULTILINE)
    for title, special, life in row.findall(LEFT_OPEN + CLOSED_LATE + TURNS):
        steps = [Step(name, _at(at), _at(late or at), argument) for at, name, argument, late in STEP.findall(life)]
        yield Case(title, topics[title], steps, special)


def _everyday(topic: Topic, platform: str, rng: random.Random) -> list[Step]:
    """Accepted, answered and closed in time. Some citizens write at night or on a weekend, some rate the answer."""
    day = max((FIRST_DAY + rng.randrange(DAYS) * ONE_DAY for _ in range(2)), key=CALENDAR.is_working)
    received = _between(rng, day, *rng.choice(WRITING_HOURS))
    opening = _between(rng, CALENDAR.nth_working_day(day, 1), 8.5, 9.3)
    at_work = CALENDAR.is_working(day) and received.hour < 17
    life = {"received": received, "accepted": received + rng.randint(4, 40) * MINUTE if at_work else opening}
    days = rng.randint(1, topic.reply_days)
    life["replied"] = closed = _between(rng, CALENDAR.nth_working_day(day, days), 9.5, 15.9)
    days += rng.randint(0, topic.complete_days - topic.reply_days)
    if topic.complete_days > topic.reply_days or platform in PUSH_COMPLETED:
        life["completed"] = closed = _between(rng, min(CALENDAR.nth_working_day(day, days), LAST_CLOSING), 16, 17.9)
    if rng.random() < 0.35:
        life["rated"] = _between(rng, closed.date() + ONE_DAY, 9, 22)
    steps = [Step(name, at, at, rng.choice("555443") if name == "rated" else "") for name, at in life.items()]
    if rng.random() < 0.1:  # out of order: the portal pushes the message itself last
        steps[0] = steps[0]._replace(arrival=steps[-1].time + MINUTE)
    return steps


def _data(platform: str, case: Case, number: int, rng: random.Random) -> Iterator[Json]:
    """What the events of a case say, in their order."""
    holder = next((step.argument for step in case.steps if step.argument in PORTALS), platform)
    topic, (_, _, level, places) = case.topic, PORTALS[holder]
    place, who = rng.choice(places.split()), {"name": rng.choice(CONTACTS), "phone": f"1390000{number:04}"}
    title, question = case.title.format(place=place), topic.question.format(place=place)
    call = "我是{name}，电话{phone}。".format_map(who) if number % 16 == 3 else ""
    content = f"{rng.choice(OPENINGS)}{question}{call}{rng.choice(CLOSINGS)}"
    asked: Json = {"category": topic.category, "title": title, "content": content} | ({"contact": who} if call else {})
    answer: Json = {"content": f"网友您好！关于“{title}”，答复如下：{topic.answer}（{level}{topic.unit}）"}
    for step in case.steps:
        said = {"received": asked, "replied": answer}.get(step.name) or SAID.get(step.name, {})
        value = int(step.argument) if step.argument.isdigit() else step.argument
        yield said | ({ARGUMENT[step.name]: value} if value else {})


def _between(rng: random.Random, day: date, first: float, last: float) -> datetime:
    return midnight(day) + timedelta(seconds=rng.randrange(int(first * 3600), int(last * 3600)))


def _at(text: str) -> datetime:
    return datetime.fromisoformat(f"2022-{text}+08:00")


def _event(platform: str, name: str, event_id: str, at: datetime, data: Json, **subject: str) -> Json:
    head = {"specversion": "1.0", "id": event_id, "source": f"/platforms/{platform}", "type": f"liuyan.{name}.v1"}
    return {**head, **subject, "time": at.isoformat(), "data": data}
