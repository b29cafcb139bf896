"""The critical path is computed from the templates' own graph, and the page in docs says what it is."""

import copy
import json
from typing import Any

import pytest

from tests.infrastructure.cloudformation import STAGES, Templates, load_templates
from tests.infrastructure.critical_path.__main__ import NAMED, PAGE, REGION, findings_of, stages, written_page
from tests.infrastructure.critical_path.evaluation import Evaluation, Unknown
from tests.infrastructure.critical_path.findings import find
from tests.infrastructure.critical_path.graph import Deploy, Step, Wait
from tests.infrastructure.critical_path.schedule import Schedule
from tests.infrastructure.critical_path.times import Time, table, time_of


def step(name: str, seconds: int, *needs: str) -> Step:
    return Step(name, "AWS::Some::Type", Time("*", {}, seconds, "assumed", ""), frozenset(needs))


# --- the method ---


def test_the_longest_way_decides() -> None:
    #      a(10) -> b(20) -> d(5)
    #      a(10) -> c(1)  -> d(5)
    schedule = Schedule.of([step("d", 5, "b", "c"), step("b", 20, "a"), step("c", 1, "a"), step("a", 10)])
    assert schedule.total == 35
    assert schedule.chain == ["a", "b", "d"]
    assert schedule.begin == {"a": 0, "b": 10, "c": 10, "d": 30}
    assert schedule.slack == {"a": 0, "b": 0, "c": 19, "d": 0}


def test_a_step_that_takes_no_time_shortens_only_as_far_as_the_next_chain() -> None:
    steps = [step("a", 10), step("b", 8), step("c", 1, "a", "b")]
    assert Schedule.of(steps, ["a"]).total == 9


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        _ = Schedule.of([step("a", 1, "b"), step("b", 1, "a")]).begin


# --- the graph ---


def stack(stem: str, **parameters: Any) -> dict[str, Any]:
    url = {"Fn::Sub": f"https://${{ArtifactBucket}}/infrastructure/{stem}.yaml"}
    return {
        "Type": "AWS::CloudFormation::Stack",
        "Properties": {"TemplateURL": url, "Parameters": parameters},
    }


def template(resources: dict[str, Any], outputs: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return {
        "Parameters": parameters,
        "Resources": resources,
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }


TEXT = {"Type": "String"}


def two_stacks() -> Templates:
    """A network with a quick VPC and a slow endpoint, and a balancer that uses the VPC only."""
    endpoint = {
        "Type": "AWS::EC2::VPCEndpoint",
        "Condition": "HasEndpoints",
        "Properties": {"VpcId": {"Ref": "Vpc"}, "VpcEndpointType": "Interface"},
    }
    network = template(
        {"Vpc": {"Type": "AWS::EC2::VPC"}, "Endpoint": endpoint},
        {"VpcId": {"Ref": "Vpc"}},
        Endpoints={"Type": "String", "Default": "true"},
    )
    network["Conditions"] = {"HasEndpoints": {"Fn::Equals": [{"Ref": "Endpoints"}, "true"]}}
    group = {"Type": "AWS::ElasticLoadBalancingV2::TargetGroup", "Properties": {"VpcId": {"Ref": "VpcId"}}}
    alb = template({"Bucket": {"Type": "AWS::S3::Bucket"}, "Group": group}, {}, VpcId=TEXT)
    main = template(
        {
            "Network": stack("network", Endpoints={"Ref": "Endpoints"}),
            "Alb": stack("alb", VpcId={"Fn::GetAtt": ["Network", "Outputs.VpcId"]}),
        },
        {},
        ArtifactBucket=TEXT,
        Endpoints={"Type": "String", "Default": "true"},
    )
    return {"main": main, "network": network, "alb": alb}


def needs(
    templates: Templates, loosened: frozenset[Wait] = frozenset(), **values: str
) -> dict[str, set[str]]:
    deploy = Deploy(templates, {"ArtifactBucket": "bundles", **values}, REGION)
    return {found.name: set(found.needs) for found in deploy.steps(loosened)}


def test_a_stack_waits_for_all_of_the_stack_it_takes_outputs_of() -> None:
    assert needs(two_stacks()) == {
        "Network begins": set(),
        "Network/Vpc": {"Network begins"},
        "Network/Endpoint": {"Network begins", "Network/Vpc"},
        "Network": {"Network begins", "Network/Vpc", "Network/Endpoint"},
        "Alb begins": {"Network"},
        "Alb/Bucket": {"Alb begins"},
        "Alb/Group": {"Alb begins"},
        "Alb": {"Alb begins", "Alb/Bucket", "Alb/Group"},
    }


def test_what_is_not_created_is_not_waited_for() -> None:
    found = needs(two_stacks(), Endpoints="false")
    assert "Network/Endpoint" not in found
    assert found["Network"] == {"Network begins", "Network/Vpc"}


def test_a_loosened_wait_is_for_what_is_used() -> None:
    found = needs(two_stacks(), frozenset([Wait("Alb", "Network")]))
    assert found["Alb begins"] == set()
    assert found["Alb/Bucket"] == {"Alb begins"}
    assert found["Alb/Group"] == {"Alb begins", "Network begins", "Network/Vpc"}


def test_a_parameter_that_decides_a_condition_is_waited_for_at_the_beginning() -> None:
    templates = two_stacks()
    templates["alb"]["Conditions"] = {"HasVpc": {"Fn::Not": [{"Fn::Equals": [{"Ref": "VpcId"}, ""]}]}}
    found = needs(templates, frozenset([Wait("Alb", "Network")]))
    assert found["Alb begins"] == {"Network begins", "Network/Vpc"}


def test_a_needless_wait_is_found_with_what_it_costs() -> None:
    found = find(two_stacks(), {"ArtifactBucket": "bundles"}, REGION)
    (gain,) = found.waits_won
    # The endpoint's two minutes and the two ends of a stack, less what the rest then still needs.
    assert gain.what == "Alb waits only for what it uses of Network"
    assert found.schedule.total - gain.seconds == found.floor
    assert found.floor == 8 + 22 + 120 + 8


def test_only_the_chosen_branch_counts() -> None:
    node = {"Fn::If": ["HasA", {"Ref": "A"}, {"Fn::If": ["HasB", {"Ref": "B"}, "neither"]}]}
    always, never = {"Fn::Equals": ["a", "a"]}, {"Fn::Equals": ["a", "b"]}
    declared = {
        "Parameters": {},
        "Resources": {},
        "Outputs": {},
        "Conditions": {"HasA": never, "HasB": always},
    }
    assert Evaluation(declared, {}, REGION, {}).pruned([node]) == [{"Ref": "B"}]


def test_what_only_the_deploy_tells_is_neither_empty_nor_equal_to_anything() -> None:
    declared = {
        "Parameters": {"Arn": TEXT},
        "Conditions": {"IsEmpty": {"Fn::Equals": [{"Ref": "Arn"}, ""]}},
        "Resources": {},
        "Outputs": {},
    }
    evaluation = Evaluation(declared, {"Arn": Unknown("<Waf.Outputs.Arn>")}, REGION, {})
    assert not evaluation.holds("IsEmpty")
    assert isinstance(evaluation.value({"Fn::Sub": "a${Arn}"}), Unknown)


def test_an_unknown_function_is_named() -> None:
    with pytest.raises(ValueError, match="Fn::Length"):
        Evaluation(template({}, {}), {}, REGION, {}).value({"Fn::Length": []})


# --- the table ---


def test_every_row_says_where_its_figure_comes_from() -> None:
    for row in table():
        assert row.source == "assumed" or row.source.startswith("https://"), row
        assert row.seconds > 0, row
        assert row.note, row
    assert table()[-1].fits("AWS::Anything::AtAll", {})


def test_no_row_is_hidden_by_one_above() -> None:
    rows = table()
    for position, row in enumerate(rows):
        example = row.resource_type.replace("*", "Example")
        assert time_of(example, row.when) is row, f"{row.resource_type} is hidden by {rows[:position]}"


# --- our own templates ---


@pytest.mark.parametrize("stage", stages())
def test_every_step_on_the_chain_has_a_row_of_its_own(stage: str) -> None:
    unlisted = {found.resource_type for found in findings_of(stage).chain if found.time.resource_type == "*"}
    assert not unlisted, f"give these a row in times.yaml, as they decide the end: {sorted(unlisted)}"


def test_conditions_are_those_of_the_stage() -> None:
    steps = {stage: findings_of(stage).schedule.steps for stage in stages()}
    logs = json.loads((STAGES / "dev.json").read_text())["Parameters"]["AccessLog"]
    assert any("AccessLogDelivery" in name for name in steps["prod"])
    assert any("AccessLogDelivery" in name for name in steps["dev"]) == (logs == "true")


def test_the_image_is_built_beside_network_and_distribution() -> None:
    schedule = findings_of("prod").schedule
    assert schedule.begin["Ecr begins"] == 0
    assert schedule.slack["Ecr/ContainerImage"] > 300
    # The least a deploy can do: load balancer, VPC origin, distribution, one after the other.
    for name in ("Alb/LoadBalancer", "CloudFront/VpcOrigin", "CloudFront/Distribution"):
        assert schedule.slack[name] == 0, name


# Stacks are for people, and each costs the two ends of waiting for it.
LOST_SECONDS = 180


@pytest.mark.parametrize("stage", stages())
def test_little_is_lost_by_waiting_for_whole_stacks(stage: str) -> None:
    findings = findings_of(stage)
    lost = findings.schedule.total - findings.floor
    assert lost <= LOST_SECONDS, f"{lost} s; take apart what the first waits for: {findings.waits_won}"


def test_a_dependency_more_is_noticed() -> None:
    templates = copy.deepcopy(load_templates())
    parameters = json.loads((STAGES / "prod.json").read_text())["Parameters"] | NAMED
    before = find(templates, parameters, REGION)
    templates["main"]["Resources"]["CloudFront"]["DependsOn"] = "Fargate"
    after = find(templates, parameters, REGION)
    assert after.schedule.total > before.schedule.total + 100
    assert after.schedule.total - after.floor > LOST_SECONDS


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == written_page(), "the templates changed: make docs"
