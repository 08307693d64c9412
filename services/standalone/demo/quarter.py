"""The first quarter of 2022 as the ten portals would have pushed it: synthetic events, in the order of their arrival.

Only the totals were published, not single messages. The numbers are real (`RECEIVED`); every message, answer, name and
telephone number is invented. The cases that show something are told in three tables (`LEFT_OPEN`, `CLOSED_LATE`, `TURNS`);
everyday ones fill up the published numbers. The same on every call: a fixed seed, no clock.
"""

import copy
import random
import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from shared.calendars import build_calendars
from shared.times import SHANGHAI, midnight

QUARTER = "2022Q1"
AS_OF = datetime(2022, 4, 11, tzinfo=SHANGHAI)
SOURCE = "临政办字〔2022〕49号"
RECEIVED = {  # 2022年第一季度共接到网民留言114条；镇康县逾期未办结5条 (SOURCE)
    "lincang": 29, "gongan": 0, "linxiang": 21, "yunxian": 1, "fengqing": 7,
    "yongde": 10, "zhenkang": 28, "gengma": 1, "cangyuan": 14, "shuangjiang": 3,
}  # fmt: skip

FIRST_DAY, DAYS, LAST_CLOSING = date(2022, 1, 1), 90, date(2022, 4, 8)
TALLY_DAY = date(2022, 3, 31)
PUSH_COMPLETED = ("lincang", "zhenkang")  # these portals push `completed` even where the final reply completes already
RETRIES = {"yunxian": timedelta(minutes=5), "gengma": timedelta(days=1)}  # these push every event again after a while
CALENDAR = build_calendars(first=date(2021, 12, 1), last=date(2022, 5, 31)).national

PREFIX_AND_PLACES = {
    "lincang": "lc 临翔区凤翔街道 临翔区忙畔街道 云县爱华镇 凤庆县凤山镇 耿马县孟定镇 双江县勐勐镇",
    "gongan": "ga 临翔区凤翔街道",
    "linxiang": "lx 凤翔街道 忙畔街道 博尚镇 蚂蚁堆乡 章驮乡 圈内乡 马台乡 邦东乡",
    "yunxian": "yx 爱华镇",
    "fengqing": "fq 凤山镇 鲁史镇 小湾镇 营盘镇 勐佑镇 雪山镇",
    "yongde": "yd 德党镇 永康镇 小勐统镇 勐板乡 亚练乡 班卡乡",
    "zhenkang": "zk 南伞镇 凤尾镇 勐捧镇 勐堆乡 木场乡 忙丙乡 军赛乡",
    "gengma": "gm 孟定镇",
    "cangyuan": "cy 勐董镇 岩帅镇 勐省镇 芒卡镇 糯良乡 勐来乡 班洪乡",
    "shuangjiang": "sj 勐勐镇 勐库镇 沙河乡 大文乡",
}
PACE = {  # working days to the final reply and to the completion, at most: no slower than the shipped policy allows
    "simple_inquiry": (1, 1), "correction": (3, 3), "inquiry": (5, 5), "suggestion": (5, 10), "help": (5, 10),
    "complaint": (5, 14),
}  # fmt: skip
OPENINGS = ("您好！", "你好，", "领导好！", "打扰了，", "")
CLOSINGS = ("谢谢！", "盼复。", "麻烦了，谢谢。", "")
CONTACTS = ("张示例", "李样本", "王虚构", "杨假设", "罗演示", "字模拟")

# category｜unit｜title｜what the citizen writes, and below it what the unit answers.
TOPICS = """
simple_inquiry｜公安局｜居住证到期怎样签注｜我在{place}租房居住，居住证下个月到期，签注要带哪些材料？
  请在期满前带身份证和租房合同到居住地派出所办理，签注不收费用。
simple_inquiry｜公安局｜新生儿落户怎样办理｜孩子刚在{place}出生，父母户口不在一处，落户随父亲还是随母亲？
  随父亲或者随母亲都可以。请带出生医学证明、户口簿、身份证和结婚证到派出所户籍窗口办理。
simple_inquiry｜人社局｜社会保障卡丢失怎样补办｜母亲在{place}赶街时丢了社会保障卡，怎样挂失和补办？
  请先拨打12333挂失，再带身份证到发卡银行网点或者{level}社会保障卡服务窗口补办。
simple_inquiry｜医保局｜城乡居民医保在哪里缴费｜我家住{place}，今年的城乡居民医保还没有缴，手机上能缴吗？
  手机上可以缴，也可以到社区或者村委会请工作人员代缴。缴费后请保存凭证。
simple_inquiry｜交通运输局｜{place}公交末班车是几点｜公交车改了时间，从{place}回城区的末班车现在是几点？
  末班车为18:30，街天延长到19:30，请以站牌公布的时间为准。
simple_inquiry｜教体局｜小学转学要哪些手续｜我们搬到{place}居住，孩子想转到附近的小学，要办哪些手续？
  请先向转入学校提出申请，学校有空余学位的，由两校在学籍系统中办理，家长不用来回跑。
simple_inquiry｜自然资源局｜不动产登记证明怎样打印｜我在{place}买了房，打印不动产登记证明要本人到场吗？
  本人带身份证在{level}政务服务中心的自助机上即可打印；委托他人的，请另带委托书。
simple_inquiry｜水务局｜停水检修计划在哪里看｜这几天{place}早上经常停水，检修计划在哪里能看到？
  检修计划提前一天在供水公司公众号和小区公告栏公布。这次检修已经结束，供水已恢复正常。
simple_inquiry｜民政局｜高龄津贴怎样申请｜家里老人住在{place}，今年满八十岁，高龄津贴怎样申请？
  请带老人的身份证、户口簿和银行卡到所在社区或者村委会登记，审核通过后按月发放。
simple_inquiry｜市场监管局｜个体工商户年报怎样填报｜我在{place}开小吃店，个体户年报在哪里填，最晚什么时候？
  请在6月30日前登录国家企业信用信息公示系统填报，也可以到就近的市场监管所书面填报。
simple_inquiry｜住建局｜物业能用停水催缴物业费吗｜{place}一个小区的物业用停水来催缴物业费，这样做合法吗？
  物业服务人不得采取停水停电的方式催缴物业费（民法典第九百四十四条），已责令该物业当日恢复供水。
simple_inquiry｜文旅局｜图书馆周末开放吗｜周末想带孩子从{place}来图书馆看书，周末开放吗，要不要预约？
  周末9:00至17:00照常开放，不用预约，进馆请佩戴口罩并扫码登记。
inquiry｜人社局｜外出务工怎样续缴养老保险｜我在外省务工，户口在{place}，城乡居民养老保险能在老家接着缴吗？
  没有在务工地参加职工养老保险的，可以在户籍地继续缴费；已经参加的，以后可以办理制度衔接。
inquiry｜农业农村局｜低产茶园改造补贴怎样申报｜听说低产茶园改造有补贴，我家在{place}有六亩老茶园，怎样申报？
  请先向村委会报名，由乡镇核实面积后统一上报，补贴标准以当年的实施方案为准。
inquiry｜农业农村局｜耕地地力保护补贴何时发放｜{place}去年的耕地地力保护补贴早已到账，今年的什么时候发放？
  面积核实和公示结束以后统一打入“一卡通”账户，预计六月底前发放，请留意村里的公示。
inquiry｜农业农村局｜农村宅基地怎样申请｜兄弟分家以后想在{place}建房，宅基地向谁申请，大约要等多久？
  请向所在的村民小组提出书面申请，经村委会公示后报乡镇人民政府审批，符合规划的依次办理。
inquiry｜教体局｜随迁子女入学要哪些条件｜我们在{place}做生意，户口在外地，孩子九月上一年级要哪些条件？
  凭居住证和务工或者经商的证明，在学校公布的报名时间登记，由{level}教体局统筹安排学位。
inquiry｜交通运输局｜{place}通村公路何时硬化｜{place}通到我们村的路还有三公里是土路，雨季很难走，什么时候能硬化？
  该路段已列入今年的农村公路建设计划，正在办理前期手续，完成后即组织施工。
inquiry｜住建局｜公租房轮候情况怎样查询｜去年在{place}申请了公租房，一直没有消息，现在排到第几位了？
  您的申请已通过审核，轮候名册在{level}政务服务中心二楼公示，空出房源后按顺序通知。
inquiry｜医保局｜异地住院怎样报销｜父亲户口在{place}，在昆明住院没有办备案，出院以后回来报销要带哪些材料？
  请带发票、费用清单、出院小结、社会保障卡和银行卡，到{level}医保经办窗口办理手工报销。
inquiry｜退役军人局｜退役军人优待证怎样申领｜我是退役军人，家住{place}，优待证在哪里申领，多久能拿到？
  请带退役证件、身份证和近期照片，到就近的退役军人服务站提出申请，制证后由服务站通知领取。
inquiry｜自然资源局｜修路占地的补偿标准是多少｜修路占了{place}我家两亩地，补偿标准是多少，什么时候兑付？
  补偿按本省公布的征地区片综合地价计算，丈量结果公示无异议后兑付到户，公示贴在村委会门口。
help｜水务局｜{place}寨子吃水困难｜入冬以来{place}一个寨子的水管断断续续停水，老人要到沟边背水，请帮助解决。
  已安排抢修队更换破损的主管，抢修期间由乡镇每天送水。
help｜交通运输局｜塌方堵住进寨的路｜前几天下雨，{place}进寨的路塌方，车辆进不去，请帮忙清理。
  已调挖掘机清理塌方，并在危险路段设置了警示标志，请过往群众注意安全。
help｜民政局｜家人生病请求临时救助｜家住{place}，家里主要劳动力生病住院，医药费负担很重，想申请临时救助。
  已请乡镇工作人员入户核实，符合条件的将尽快发放临时救助金，请准备好住院票据。
help｜人社局｜工地拖欠工资请求帮助｜我们几个人在{place}的工地做工，工程完了工资还没有结清，请帮忙协调。
  劳动监察人员已约谈施工方，对方承诺分期结清工资，我们将跟踪到全部兑付为止。
help｜供电局｜{place}电压太低请求改造｜{place}我们寨子一到晚上电压就很低，电饭煲都用不了，请帮助改造线路。
  已现场测量电压，将为该台区更换变压器，施工时会提前通知停电时间。
complaint｜综合行政执法局｜{place}烧烤摊深夜噪声扰民｜{place}路边的烧烤摊经营到凌晨，音响声音很大，影响居民休息。
  执法人员已到现场要求摊主23:00以后停止使用音响，并将加强夜间巡查。
complaint｜住建局｜{place}工地夜间施工噪声｜{place}一处工地连续多天夜里十一点以后还在施工，孩子没法睡觉。
  已责令施工单位停止夜间作业，确需连续施工的，必须提前办理手续并公告。
complaint｜市场监管局｜超市出售过期食品｜在{place}一家超市买到过期的牛奶，店家不肯退，请查处。
  已依法对该店立案调查，过期食品已下架，并督促店家为您办理退货。
suggestion｜公安局｜{place}学校路口建议装红绿灯｜{place}学校门口车多人多，建议装红绿灯，上学时间安排人员值守。
  已会同学校实地查看，红绿灯列入今年的设施计划，安装之前由交警在上学和放学时段值守。
suggestion｜交通运输局｜建议增加街天的公交班次｜{place}逢街天坐车的人很多，一小时一班不够，建议加开几班。
  已与公交公司商定，逢街天上午加开四班，下月起试行。
suggestion｜住建局｜建议公园增加夜间照明｜{place}的小公园晚上很黑，散步的老人容易摔倒，建议增加路灯。
  已纳入市政设施维护计划，将增设庭院灯，预计两个月内完成。
correction｜政务服务局｜办事指南上的地址有误纠错｜网站办事指南上{place}便民服务中心的地址还是旧的，跑了冤枉路，请更正。
  办事指南上的地址和办公时间已经更正，给您带来不便，深表歉意。
correction｜政府办公室｜网站文章有错别字纠错｜贵网站一篇介绍{place}的文章把“按时”写成了“按是”，请更正。
  错别字已经更正，感谢您的细心和监督。
correction｜政府办公室｜网站链接打不开纠错｜网站“政策文件”栏目里关于{place}道路规划的附件打不开，请修复。
  附件已重新上传，现在可以正常下载。
"""

# platform｜title｜what is special, and below it the case's life: MM-DD HH:MM event [argument] [>arrival, where it is late].
# The five that 镇康县 left open:
LEFT_OPEN = """
zhenkang｜{place}烧烤摊深夜噪声扰民｜逾期未办结：只作过阶段性答复，答复和办结都已逾期（3月25日24:00到期）
  03-04 21:40 received, 03-07 09:02 accepted, 03-10 15:30 interim
zhenkang｜家人生病请求临时救助｜逾期未办结：3月18日已作最终答复，但一直没有办结（3月28日24:00到期）
  03-14 10:26 received, 03-14 11:05 accepted, 03-18 16:20 replied
zhenkang｜耕地地力保护补贴何时发放｜逾期未办结：收到以后一直没有受理（3月30日24:00到期）
  03-23 10:05 received
zhenkang｜居住证到期怎样签注｜逾期未办结：简单咨询，受理后没有答复（3月29日24:00到期）
  03-28 17:35 received, 03-29 08:50 accepted
zhenkang｜异地住院怎样报销｜逾期未办结：转县医保局后无人答复；4月2日调休上班计入，清明三天不计（4月7日24:00到期）
  03-30 09:48 received, 03-30 10:30 accepted, 03-31 15:12 transferred 县医保局
"""
# The four that were closed, but late:
CLOSED_LATE = """
linxiang｜随迁子女入学要哪些条件｜逾期办结：1月29日（星期六）调休上班，也是工作日，当天24:00到期，2月7日才答复
  01-24 15:10 received, 01-24 16:02 accepted, 02-07 10:20 replied
cangyuan｜{place}工地夜间施工噪声｜逾期办结：投诉举报15个工作日，3月2日24:00到期，3月4日办结
  02-09 20:15 received, 02-10 08:55 accepted, 02-16 16:40 replied, 03-04 17:05 completed, 03-05 12:40 rated 2
fengqing｜新生儿落户怎样办理｜逾期办结：星期五下班前收到的简单咨询，3月14日（星期一）24:00到期，星期二才答复
  03-11 17:52 received, 03-14 09:10 accepted, 03-15 10:32 replied
yongde｜塌方堵住进寨的路｜逾期办结：办结只记到日期（3月30日00:00），正好到期，不早于截止时间即为逾期
  03-15 09:30 received, 03-15 10:12 accepted, 03-21 11:00 replied, 03-30 00:00 completed
"""
# The turns that a case can take, all in time:
TURNS = """
zhenkang｜社会保障卡丢失怎样补办｜跨春节：1月30日（调休上班）收到，2月7日24:00到期，当天16:48答复
  01-30 10:12 received, 01-30 10:55 accepted, 02-07 16:48 replied, 02-07 16:50 completed, 02-08 20:03 rated 5
lincang｜工地拖欠工资请求帮助｜中止与恢复：2月24日至3月7日等待补充材料，其间不计时，到期日由3月7日推到3月17日
  02-21 09:35 received, 02-21 10:20 accepted, 02-24 09:30 suspended, 03-07 10:00 resumed, 03-09 15:40 replied,
  03-15 11:10 completed, 03-16 19:30 rated 4
yongde｜超市出售过期食品｜延期：到期前批准延长5个工作日，到期日由3月7日推到3月14日，3月11日办结
  02-14 10:48 received, 02-14 11:30 accepted, 02-18 15:25 replied, 03-04 16:00 extended 5, 03-11 16:35 completed
cangyuan｜公租房轮候情况怎样查询｜转办单位：受理当天转县住建局，时限不变，统计仍归沧源自治县
  03-01 09:15 received, 03-01 10:02 accepted, 03-01 14:40 transferred 县住建局, 03-07 16:10 replied
lincang｜{place}通村公路何时硬化｜转办平台：市政府转临翔区办理，时限不变，统计仍归市政府
  03-08 09:20 received, 03-08 10:00 accepted, 03-08 11:15 transferred linxiang, 03-14 15:40 replied, 03-14 15:42 completed
linxiang｜物业能用停水催缴物业费吗｜调整类别：当作简单咨询收到，次日改为投诉举报，办结时限由1个工作日变为15个工作日
  03-02 09:30 received, 03-02 10:10 accepted, 03-03 10:00 recategorized complaint, 03-08 15:05 replied,
  03-18 16:30 completed
linxiang｜修路占地的补偿标准是多少｜重新办理：网民评1分后重新办理，第二轮自3月14日起另计时限，按时答复后评5分
  03-07 08:45 received, 03-07 09:30 accepted, 03-10 16:05 replied, 03-10 20:31 rated 1, 03-14 14:20 reopened,
  03-15 09:05 accepted, 03-18 10:40 replied, 03-18 19:02 rated 5
shuangjiang｜{place}学校路口建议装红绿灯｜阶段性答复：先作阶段性答复，不算答复；最终答复和办结都按时
  02-15 11:20 received, 02-15 14:45 accepted, 02-17 10:30 interim, 02-21 15:15 replied, 02-25 16:20 completed
zhenkang｜修路占地的补偿标准是多少｜答复迟到：3月16日到期前已答复，事件3月18日才推送到，其间显示逾期，收到后更正为按时
  03-09 10:40 received, 03-09 11:20 accepted, 03-16 17:20 replied >03-18 09:05
lincang｜新生儿落户怎样办理｜乱序：受理、答复、办结的事件先到，留言本身的事件三天后才到，结果不变
  02-17 09:05 received >02-21 08:32, 02-17 09:40 accepted, 02-18 10:15 replied, 02-18 10:17 completed
yunxian｜城乡居民医保在哪里缴费｜重复推送：平台五分钟后把每条事件又推送一遍，只算一次
  01-18 15:22 received, 01-18 16:05 accepted, 01-19 10:40 replied
gengma｜低产茶园改造补贴怎样申报｜重复推送：平台第二天把每条事件又推送一遍，只算一次
  02-23 10:15 received, 02-23 11:00 accepted, 02-28 15:30 replied
fengqing｜高龄津贴怎样申请｜周末深夜：星期六23:41写来，受理当日不计，星期一24:00到期，按时答复
  03-05 23:41 received, 03-07 08:52 accepted, 03-07 15:10 replied, 03-07 21:14 rated 5
lincang｜公租房轮候情况怎样查询｜跨清明：3月31日收到，4月2日调休上班计入，4月8日24:00到期，4月7日答复
  03-31 14:05 received, 03-31 15:00 accepted, 04-07 11:20 replied, 04-07 11:22 completed
"""


class Step(NamedTuple):
    time: datetime
    name: str
    argument: str = ""
    arrival: datetime | None = None  # with the event itself, unless it came late


class Case(NamedTuple):
    platform: str
    title: str
    steps: list[Step]
    special: str = ""


class Topic(NamedTuple):
    category: str
    unit: str
    question: str
    answer: str


def quarter_events() -> list[dict[str, object]]:
    """All events of the quarter's messages, and the tallies of its last day, in the order in which they arrived."""
    rng = random.Random(2022_49)  # noqa: S311 (a story, not a secret)
    arrivals: list[tuple[datetime, dict[str, object]]] = []
    cases = _numbered_cases()
    for key, case in cases.items():
        for step, event in zip(case.steps, _case_events(key, case, rng), strict=True):
            arrivals.append((step.arrival or step.time, event))
            if case.platform in RETRIES:
                arrivals.append((step.time + RETRIES[case.platform], copy.deepcopy(event)))
    for platform in RECEIVED:
        of_day = sum(c.platform == platform and c.steps[0].time.date() == TALLY_DAY for c in cases.values())
        arrivals.append((midnight(TALLY_DAY) + timedelta(days=1, minutes=5), _tally(platform, of_day)))
    return [event for _, event in sorted(arrivals, key=lambda arrival: arrival[0])]


def story_cases() -> dict[str, str]:
    """Key -> what is special in the case, one sentence."""
    return {key: case.special for key, case in _numbered_cases().items() if case.special}
