"""The kinds of panels that the dashboards are made of."""

from collections.abc import Iterable

from grafana_foundation_sdk.builders import bargauge, common, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import BigValueTextMode, DataSourceRef, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="liuyan-prometheus")
WIDTH = 24  # of Grafana's grid

Panel = stat.Panel | table.Panel | timeseries.Panel | bargauge.Panel


def query(expr: str, legend: str = "", ref: str = "A") -> Dataquery:
    return Dataquery().expr(expr).legend_format(legend).ref_id(ref).datasource(SOURCE)


def number(title: str, expr: str, unit: str = "short", red_from: float | None = None, decimals: int = 0) -> stat.Panel:
    panel = (
        stat.Panel()
        .title(title)
        .with_target(query(expr).instant())
        .reduce_options(_last())
        .unit(unit)
        .decimals(decimals)
        .no_value("—")
    )
    steps = [Threshold(value=None, color="green"), Threshold(value=red_from, color="red")]
    plain = [Threshold(value=None, color="text")]
    wanted = plain if red_from is None else steps
    panel.thresholds(dashboards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(wanted))
    return panel.height(4).span(4)


def states(title: str, expr: str, legend: str) -> stat.Panel:
    """1 or 0 in words: never by colour alone."""
    words = {
        "1": ValueMappingResult(text="正常", color="green", index=0),
        "0": ValueMappingResult(text="不正常", color="red", index=1),
    }
    panel = stat.Panel().title(title).with_target(query(expr, legend).instant()).reduce_options(_last())
    panel.mappings([ValueMap(options=words)])
    return panel.text_mode(BigValueTextMode.VALUE_AND_NAME).height(5).span(8)


def graph(title: str, expr: str, legend: str, unit: str = "short", width: int = 12) -> timeseries.Panel:
    panel = timeseries.Panel().title(title).with_target(query(expr, legend).range()).unit(unit).axis_soft_min(0)
    shown = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return panel.legend(shown.show_legend(True)).fill_opacity(10).height(8).span(width)


def bars(title: str, expr: str, legend: str, unit: str = "short") -> bargauge.Panel:
    panel = bargauge.Panel().title(title).with_target(query(expr, legend).instant()).reduce_options(_last())
    return panel.unit(unit).height(8).span(12)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def rows(title: str, columns: dict[str, str], names: dict[str, str], percent: Iterable[str] = ()) -> table.Panel:
    """A table of several queries with the same labels, one column each; `names`: what the labels are called."""
    panel = table.Panel().title(title)
    refs = dict(zip("ABCDEFGH", columns, strict=False))
    for ref, heading in refs.items():
        panel.with_target(query(columns[heading], ref=ref).instant().format(PromQueryFormat.TABLE))
    several = len(refs) > 1
    renamed = names | {(f"Value #{ref}" if several else "Value"): heading for ref, heading in refs.items()}
    panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    order = {name: number for number, name in enumerate(renamed)}
    options = {"excludeByName": {"Time": True}, "renameByName": renamed, "indexByName": order}
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=options))
    for heading in percent:
        shown = [DynamicConfigValue(id_val="unit", value="percentunit"), DynamicConfigValue(id_val="decimals", value=2)]
        panel.override_by_name(heading, shown)
    return panel.no_value("—").height(11).span(WIDTH)


def chosen(name: str, label: str, values: str, sort: VariableSort) -> dashboards.QueryVariable:
    variable = dashboards.QueryVariable(name).label(label).query(values).datasource(SOURCE).sort(sort)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
