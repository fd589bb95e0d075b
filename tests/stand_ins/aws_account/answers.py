"""What moto cannot answer: quotas, prices, the public image parameters, simulated permissions, scaling activities."""

import fnmatch
import hashlib
import json
from collections.abc import Callable
from datetime import UTC
from typing import Any
from xml.sax.saxutils import escape

from tests.stand_ins.aws_account.wire import Call, error
from tests.stand_ins.aws_account.world import World

Answer = tuple[str, list[tuple[str, str]], bytes]
_NAMES = {
    "L-DB2E81BA": "Running On-Demand G and VT instances", "L-3819A6DF": "All G and VT Spot Instance Requests",
    "L-417A185B": "Running On-Demand P instances", "L-7212CCBC": "All P4, P3 and P2 Spot Instance Requests",
    "L-C4BD4855": "All P5 Spot Instance Requests",
}  # fmt: skip


def answer(call: Call, world: World) -> Answer | None:
    """The account's own answer, or None to ask moto."""
    own = _OWN.get((call.service, call.action))
    return own(call, world) if own else None


def _json(value: Any) -> Answer:
    return "200 OK", [("Content-Type", "application/x-amz-json-1.1")], json.dumps(value).encode()


def _quota(call: Call, world: World) -> Answer | None:
    code = call.document["QuotaCode"]
    if code not in _NAMES:
        return None
    value = world.quotas.get(code, 0.0)
    return _json(
        {
            "Quota": {
                "ServiceCode": "ec2",
                "QuotaCode": code,
                "QuotaName": _NAMES[code],
                "Value": value,
                "Adjustable": True,
            }
        }
    )


def _parameter(call: Call, world: World) -> Answer | None:
    name = call.document["Name"]
    if not name.startswith("/aws/service/deeplearning/ami/") or call.region not in world.regions:
        return None
    image = f"ami-{hashlib.sha1(name.encode()).hexdigest()[:17]}"
    return _json({"Parameter": {"Name": name, "Type": "String", "Value": image, "Version": 1}})


def _prices(call: Call, world: World) -> Answer:
    asked = {item["Field"]: item["Value"] for item in call.document.get("Filters", [])}
    usd = world.usd_per_hour.get(asked.get("instanceType", ""))
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": f"{usd:.10f}"}} if usd is not None else {}
    term = {"X.JRTCKXETXF": {"priceDimensions": {"X.JRTCKXETXF.6YS6EN2CT7": dimension}}}
    product = {"product": {"attributes": asked, "sku": "X"}, "serviceCode": "AmazonEC2", "terms": {"OnDemand": term}}
    return _json({"FormatVersion": "aws_v1", "PriceList": [json.dumps(product)] if usd is not None else []})


def _simulate(call: Call, world: World) -> Answer:
    """Everything is allowed but what the account denies, or what a boundary's own list of actions leaves out."""
    boundary = call.form.get("PermissionsBoundaryPolicyInputList.member.1")
    inside = _allowed_by(json.loads(boundary)) if boundary else ["*"]
    given = {value for key, value in call.form.items() if key.endswith(".ContextKeyName")}
    resources = [value for key, value in call.form.items() if key.startswith("ResourceArns.member.")] or ["*"]
    results = []
    for key, action in call.form.items():
        if not key.startswith("ActionNames.member."):
            continue
        for resource in resources:
            by_boundary = any(fnmatch.fnmatchcase(action.lower(), item.lower()) for item in inside)
            needed = [name for name in world.needed_context.get(action, ()) if name not in given]
            outside = action in world.denied_by_organization
            inner = f"<AllowedByOrganizations>{str(not outside).lower()}</AllowedByOrganizations>"
            decision = "implicitDeny" if outside or needed or not by_boundary or action in world.denied else "allowed"
            missing = "".join(f"<member>{escape(name)}</member>" for name in needed)
            results.append(
                f"<member><EvalActionName>{escape(action)}</EvalActionName>"
                f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
                f"<MissingContextValues>{missing}</MissingContextValues>"
                f"<OrganizationsDecisionDetail>{inner}</OrganizationsDecisionDetail>"
                f"<EvalDecision>{decision}</EvalDecision></member>"
            )
    name = call.action
    xml = (
        f"<{name}Response><{name}Result><IsTruncated>false</IsTruncated>"
        f"<EvaluationResults>{''.join(results)}</EvaluationResults></{name}Result></{name}Response>"
    )
    return "200 OK", [("Content-Type", "text/xml")], xml.encode()


def _allowed_by(document: dict[str, Any]) -> list[str]:
    listed = [item["Action"] for item in document["Statement"] if item["Effect"] == "Allow"]
    return [action for item in listed for action in ([item] if isinstance(item, str) else item)]


def _identity(call: Call, world: World) -> Answer | None:
    if call.access_key != "stand-in":  # keys of an assumed role: moto knows whose they are
        return None
    xml = (
        "<GetCallerIdentityResponse><GetCallerIdentityResult><UserId>AIDASTANDIN</UserId><Account>123456789012</Account>"
        "<Arn>arn:aws:iam::123456789012:user/ann</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    return "200 OK", [("Content-Type", "text/xml")], xml.encode()


def _session(call: Call, world: World) -> Answer:
    known = call.document["Target"] in {machine.id for machine in world.machines()}
    if not (known and world.agent_online):
        return error(call, "TargetNotConnected", f"{call.document['Target']} is not connected.")
    told = {"SessionId": "stand-in-0123", "TokenValue": "token-value", "StreamUrl": "wss://ssm.invalid/stand-in-0123"}
    return _json(told)


def _activities(call: Call, world: World) -> Answer:
    members = []
    for item in reversed(world.activities.get(call.form.get("AutoScalingGroupName", ""), [])):
        fields = "".join(
            f"<{key}>{escape(value.astimezone(UTC).isoformat() if key.endswith('Time') else str(value))}</{key}>"
            for key, value in item.items()
            if value != ""
        )
        members.append(f"<member>{fields}</member>")
    xml = (
        '<DescribeScalingActivitiesResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
        f"<DescribeScalingActivitiesResult><Activities>{''.join(members)}</Activities>"
        "</DescribeScalingActivitiesResult></DescribeScalingActivitiesResponse>"
    )
    return "200 OK", [("Content-Type", "text/xml")], xml.encode()


def _regions(call: Call, world: World) -> Answer:
    items = "".join(
        f"<item><regionName>{name}</regionName><regionEndpoint>ec2.{name}.amazonaws.com</regionEndpoint></item>"
        for name in sorted(world.regions)
    )
    xml = (
        '<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    )
    return "200 OK", [("Content-Type", "text/xml")], xml.encode()


_OWN: dict[tuple[str, str], Callable[[Call, World], Answer | None]] = {
    ("servicequotas", "GetServiceQuota"): _quota,
    ("ssm", "GetParameter"): _parameter,
    ("ssm", "StartSession"): _session,
    ("ssm", "TerminateSession"): lambda call, world: _json({"SessionId": "stand-in"}),
    ("ec2", "DescribeRegions"): _regions,
    ("pricing", "GetProducts"): _prices,
    ("iam", "SimulatePrincipalPolicy"): _simulate,
    ("iam", "SimulateCustomPolicy"): _simulate,
    ("sts", "GetCallerIdentity"): _identity,
    ("autoscaling", "DescribeScalingActivities"): _activities,
}
