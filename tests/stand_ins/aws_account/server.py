"""The account as a process: moto behind refusals, faults, kills, and answers of its own. One request at a time.

Run by `control.serve`. `save` forks: the child goes on serving on the same socket, the parent waits until `restore`
ends the child, and is then the account as it was.
"""

import gc
import hashlib
import io
import json
import logging
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from typing import Any

from moto.backends import get_backend, list_of_moto_modules
from moto.moto_server import werkzeug_app
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import EnvironBuilder

from tests.stand_ins.aws_account import permissions, wire
from tests.stand_ins.aws_account.answers import answer
from tests.stand_ins.aws_account.refusals import refuse
from tests.stand_ins.aws_account.wire import Call
from tests.stand_ins.aws_account.world import ACCOUNT, World, install

Reply = tuple[str, list[tuple[str, str]], bytes]


@dataclass
class Plan:
    """What shall go wrong: at the `call`-th mutating call since it was set (None: any), or at calls named `action`."""

    what: str  # kill | fail | lost | drop | ignored
    when: str = "before"
    call: int | None = None
    action: str | None = None
    region: str | None = None
    pid: int | None = None
    code: str = "InternalFailure"
    message: str = ""
    status: int = 400
    times: int = 1
    seen: int = 0

    def hits(self, call: Call) -> bool:
        if self.times <= 0 or (self.action is not None and self.action not in (call.action, call.name, "*")):
            return False
        if not call.mutating and self.action is None:
            return False
        if self.region not in (None, call.region):
            return False
        self.seen += 1
        if self.call is not None and self.seen < self.call:
            return False
        self.times -= 1
        return True


@dataclass
class Service:
    """The WSGI application and the account's state around moto's."""

    world: World
    moto: Any
    plans: list[Plan] = field(default_factory=list)
    calls: list[tuple[str, bool]] = field(default_factory=list)
    tokens: dict[tuple[str, str], tuple[str, Reply]] = field(default_factory=dict)
    leave: bool = False
    saved: int | None = None

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = _body(environ)
        path = environ["PATH_INFO"]
        if path.startswith("/stand-in/"):
            reply = self.control(path.removeprefix("/stand-in/"), json.loads(body or b"{}"))
        else:
            reply = self.serve(environ, body)
        if reply is None:  # a dropped connection: no answer at all
            raise ConnectionAbortedError
        status, headers, content = reply
        drop = ("date", "content-length", "connection")
        kept = [(key, value) for key, value in headers if key.lower() not in drop]
        length = {key.lower(): value for key, value in headers}.get("content-length")
        size = length if environ["REQUEST_METHOD"] == "HEAD" and length else str(len(content))
        start(status, [*kept, ("Content-Length", size)])
        return [content]

    def serve(self, environ: dict[str, Any], body: bytes) -> Reply | None:
        call = wire.read_call(environ, body)
        self.calls.append((call.name, call.mutating))
        plan = next((item for item in self.plans if item.hits(call)), None)
        if plan and plan.what == "kill" and plan.when == "before":
            os.kill(plan.pid or 0, signal.SIGKILL)
            return None
        if plan and plan.what == "fail":
            return wire.error(call, plan.code, plan.message or plan.code, plan.status)
        if plan and plan.what == "ignored":
            return wire.success_without_effect(call)
        reply = self.perform(call, environ)
        if plan and plan.what == "kill":
            os.kill(plan.pid or 0, signal.SIGKILL)
            return None
        if plan and plan.what == "lost":
            return wire.error(call, "InternalFailure", "the answer was lost", 500)
        return None if plan and plan.what == "drop" else reply

    def perform(self, call: Call, environ: dict[str, Any]) -> Reply:
        if self.world.policy and (lacking := permissions.missing(call, self.world.policy, self.world.used)):
            text = (
                f"not authorized to perform: {lacking.action} on resource: {lacking.resource} {lacking.context or ''}"
            )
            return wire.error(call, "AccessDenied", text, 403)
        refused = refuse(call, self.world)
        if refused:
            return wire.error(call, *refused)
        key = (call.action, call.token or "")
        print_of = hashlib.sha256(call.body).hexdigest()
        if call.token and key in self.tokens:
            known, reply = self.tokens[key]
            if known != print_of:
                return wire.error(call, "IdempotentParameterMismatch", "the token was used with other parameters")
            return reply
        reply = answer(call, self.world) or self.ask_moto(environ)
        if call.token and reply[0].startswith("200"):
            self.tokens[key] = (print_of, reply)
        if call.action == "CreateRole" and reply[0].startswith("200"):
            self.world.made_at[call.form["RoleName"]] = self.world.now()
        return reply

    def ask_moto(self, environ: dict[str, Any]) -> Reply:
        got: list[Any] = []
        content = b"".join(self.moto(environ, lambda status, headers, _=None: got.append((status, headers))))
        status, headers = got[0]
        return status, list(headers), content

    def control(self, verb: str, given: dict[str, Any]) -> Reply:
        value = getattr(self, f"do_{verb}")(**given)
        return "200 OK", [("Content-Type", "application/json")], json.dumps(value).encode()

    # -- what tests ask for ------------------------------------------------------------------------------------------

    def do_plan(self, **given: Any) -> None:
        self.plans.append(Plan(**given))

    def do_forgive(self) -> None:
        self.plans.clear()

    def do_world(self, **given: Any) -> None:
        for key, value in given.items():
            setattr(self.world, key, set(value) if isinstance(getattr(self.world, key), set) else value)

    def do_advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    def do_power_off(self, instance_id: str) -> None:
        self.world.power_off(instance_id)

    def do_calls(self, clear: bool = False) -> list[tuple[str, bool]]:
        listed = list(self.calls)
        if clear:
            self.calls.clear()
        return listed

    def do_state(self) -> dict[str, Any]:
        world = self.world
        groups = {
            name: (group.desired_capacity, world.unarmed(group))
            for region in world.regions
            for name, group in get_backend("autoscaling")[ACCOUNT][region].autoscaling_groups.items()
        }
        return {
            "now": world.now(),
            "machines": [machine.id for machine in world.machines()],
            "unwatched": [
                f"{machine.id}: {', '.join(missing)}"
                for machine in world.machines()
                for missing in [self._missing(machine)]
                if missing
            ],
            "wanting_unwatched": [name for name, (desired, missing) in groups.items() if desired and missing],
            "launched_unarmed": world.launched_unarmed,
            "launches": world.launches,
            "bill": world.bill,
            "left": left(world),
            "unforgetting": unforgetting(),
            "permissions_used": sorted(world.used),
        }

    def _missing(self, machine: Any) -> list[str]:
        group = getattr(machine, "autoscaling_group", None)
        held = group and get_backend("autoscaling")[ACCOUNT][group.region].autoscaling_groups.get(group.name)
        return self.world.unarmed(group) if held is group and group is not None else ["in no group"]

    def do_save(self) -> None:
        gc.freeze()  # what the child inherits is not touched again by its collector: pages stay shared
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)

    def do_restore(self) -> None:
        self.leave = True

    def do_stop(self) -> None:
        self.leave = True


def left(world: World) -> list[str]:
    """Everything that is still in the account, by kind and name."""
    found = []
    for region in sorted(world.regions):
        ec2, scaling = get_backend("ec2")[ACCOUNT][region], get_backend("autoscaling")[ACCOUNT][region]
        found += [f"machine {item.id}" for item in world.machines()]
        found += [f"volume {name}" for name in ec2.volumes]
        found += [f"group {name}" for name in scaling.autoscaling_groups]
        found += [f"action {name}" for name in scaling.scheduled_actions]
        found += [
            f"schedule {name}"
            for name in get_backend("scheduler")[ACCOUNT][region].schedule_groups["default"].schedules
        ]
        found += [f"template {item.name}" for item in ec2.launch_templates.values()]
        groups = [group for held in ec2.groups.values() for group in held.values()]
        found += [f"security group {group.name}" for group in groups if group.name != "default"]
        found += [
            f"parameter {name}"
            for name in get_backend("ssm")[ACCOUNT][region]._parameters
            if name.startswith("/modelpick")
        ]
        found += [f"log group {name}" for name in get_backend("logs")[ACCOUNT][region].groups]
    iam = get_backend("iam")[ACCOUNT]["aws"]
    found += [f"role {role.name}" for role in iam.roles.values()]
    found += [f"profile {item.name}" for item in iam.instance_profiles.values()]
    found += [f"bucket {name}" for name in get_backend("s3")[ACCOUNT]["aws"].buckets]
    return sorted(found)


def unforgetting() -> list[str]:
    """Objects that no lifecycle rule will ever delete."""
    kept = []
    for bucket in get_backend("s3")[ACCOUNT]["aws"].buckets.values():
        prefixes = [rule.filter.prefix for rule in bucket.rules if rule.status == "Enabled" and rule.expiration_days]
        kept += [f"{bucket.name}/{key}" for key in bucket.keys if not key.startswith(tuple(prefixes) or ("\0",))]
    return kept


def _body(environ: dict[str, Any]) -> bytes:
    size = int(environ.get("CONTENT_LENGTH") or 0)
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "")
    body = environ["wsgi.input"].read() if chunked else environ["wsgi.input"].read(size)
    if not chunked and len(body) < size:  # the caller died while it sent: AWS does nothing with half a request
        raise ConnectionAbortedError
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return bytes(body)


def run(port_to: int) -> None:
    """Serve until told to stop; the port is written to file descriptor `port_to`."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    world = World()
    install(world)
    service = Service(world, DomainDispatcherApplication(create_backend_app))
    _warm(service)

    class Handler(WSGIRequestHandler):
        """Quiet, and on the account's clock."""

        def log(self, *_: Any) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(world.now(), usegmt=True)

    server = make_server("127.0.0.1", 0, service, threaded=False, request_handler=Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    os.write(port_to, f"{server.server_port}\n".encode())
    os.close(port_to)
    while not service.leave:
        server.handle_request()
    os._exit(0)


_FORM = "application/x-www-form-urlencoded"
_IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
_OFFERINGS = "Action=DescribeInstanceTypeOfferings&Version=2016-11-15&LocationType=availability-zone"
# What makes moto load its data, once for all accounts that are forked from this one: (service, method, path, body,
# headers).
_READS = (
    ("ec2", "POST", "/", "Action=DescribeVpcs&Version=2016-11-15", {"CONTENT_TYPE": _FORM}),
    ("autoscaling", "POST", "/", "Action=DescribeAutoScalingGroups&Version=2011-01-01", {"CONTENT_TYPE": _FORM}),
    ("iam", "POST", "/", "Action=ListRoles&Version=2010-05-08", {"CONTENT_TYPE": _FORM}),
    ("sts", "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", {"CONTENT_TYPE": _FORM}),
    ("ssm", "POST", "/", "{}", {"HTTP_X_AMZ_TARGET": "AmazonSSM.DescribeParameters"}),
    ("ssm", "POST", "/", json.dumps({"Name": _IMAGE}), {"HTTP_X_AMZ_TARGET": "AmazonSSM.GetParameter"}),
    ("ec2", "POST", "/", "Action=DescribeSubnets&Version=2016-11-15", {"CONTENT_TYPE": _FORM}),
    ("ec2", "POST", "/", "Action=DescribeRouteTables&Version=2016-11-15", {"CONTENT_TYPE": _FORM}),
    ("ec2", "POST", "/", _OFFERINGS, {"CONTENT_TYPE": _FORM}),
    ("logs", "POST", "/", "{}", {"HTTP_X_AMZ_TARGET": "Logs_20140328.DescribeLogGroups"}),
    ("kms", "POST", "/", "{}", {"HTTP_X_AMZ_TARGET": "TrentService.ListKeys"}),
    ("scheduler", "GET", "/schedules", "", {}),
    ("s3", "GET", "/", "", {}),
)


def _warm(service: Service) -> None:
    """Pay moto's start-up once, before any fork; and give the default VPC its way out, which moto leaves out."""
    werkzeug_app.backends.list_of_moto_modules = cache(lambda: frozenset(list_of_moto_modules()))
    for name, method, path, body, headers in _READS:
        scope = f"AWS4-HMAC-SHA256 Credential=stand-in/20260101/us-east-1/{name}/aws4_request, SignedHeaders=host"
        builder = EnvironBuilder(path, method=method, data=body.encode())
        environ = {**builder.get_environ(), "HTTP_AUTHORIZATION": scope, "HTTP_HOST": "127.0.0.1", **headers}
        assert (service.serve(environ, body.encode()) or ("",))[0].startswith("200"), name
    service.calls.clear()
    get_backend("ec2")[ACCOUNT]["us-east-1"]._create_default_encryption_key()  # made by the first encrypted disk
    ec2 = get_backend("ec2")[ACCOUNT]["us-east-1"]
    vpc = next(iter(ec2.vpcs.values()))
    gateway = ec2.create_internet_gateway()
    ec2.attach_internet_gateway(gateway.id, vpc.id)
    table = next(iter(ec2.route_tables.values()))
    ec2.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
