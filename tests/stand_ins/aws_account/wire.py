"""Reads which call a request is, and writes AWS's error answers in the protocol of the service."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

_READS = ("Get", "List", "Describe", "Head", "Simulate", "Filter", "Assume", "Lookup")
_S3_SUB = {
    "publicAccessBlock": "PublicAccessBlock", "encryption": "BucketEncryption",
    "lifecycle": "BucketLifecycleConfiguration",
    "tagging": "BucketTagging", "policy": "BucketPolicy", "versioning": "BucketVersioning",
}  # fmt: skip


@dataclass
class Call:
    """One request as AWS would name it."""

    service: str
    action: str
    region: str
    body: bytes
    form: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    access_key: str = ""
    thing: str = ""  # what the path names: a schedule, a bucket, an object in it

    @property
    def mutating(self) -> bool:
        return not self.action.startswith(_READS) and self.form.get("DryRun") != "true"

    @property
    def name(self) -> str:
        return f"{self.service}:{self.action}"


def read_call(environ: dict[str, Any], body: bytes) -> Call:
    scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    call = _read(environ, body, *((scope[2], scope[3]) if scope else ("us-east-1", "s3")))
    call.access_key = scope[1] if scope else ""
    return call


def _read(environ: dict[str, Any], body: bytes, region: str, service: str) -> Call:
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        document = json.loads(body or b"{}")
        return Call(
            service, target.rpartition(".")[2], region, body, document=document, token=document.get("ClientToken")
        )
    if "x-www-form-urlencoded" in environ.get("CONTENT_TYPE", "") and body:
        form = {key: values[0] for key, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        if "Action" in form:
            return Call(service, form["Action"], region, body, form=form, token=form.get("ClientToken"))
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if service == "scheduler":
        verb = {"POST": "Create", "PUT": "Update", "DELETE": "Delete", "GET": "Get"}[method]
        action = "ListSchedules" if path.rstrip("/") == "/schedules" else f"{verb}Schedule"
        document = json.loads(body) if body else {}
        name = path.strip("/").partition("/")[2]
        return Call(service, action, region, body, document=document, token=document.get("ClientToken"), thing=name)
    action = _s3_action(method, path, environ.get("QUERY_STRING", ""))
    return Call(service, action, region, body, thing=path.strip("/"))


def _s3_action(method: str, path: str, query: str) -> str:
    sub = next(
        (_S3_SUB[word] for word in query.split("&") if word.split("=")[0] in _S3_SUB for word in [word.split("=")[0]]),
        "",
    )
    key = path.strip("/").partition("/")[2]
    verb = {"PUT": "Put", "GET": "Get", "DELETE": "Delete", "HEAD": "Head", "POST": "Post"}[method]
    if sub:
        return f"{verb}{sub}"
    if method == "POST":
        return "DeleteObjects" if "delete" in query else "PostObject"
    if key:
        return f"{verb}Object"
    if not path.strip("/"):
        return "ListBuckets"
    return {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "HEAD": "HeadBucket", "GET": "ListObjectsV2"}[method]


def error(call: Call, code: str, message: str, status: int = 400) -> tuple[str, list[tuple[str, str]], bytes]:
    """(status line, headers, body) of an error as `call`'s service writes it."""
    line = f"{status} Error"
    if call.service in ("ssm", "logs", "servicequotas", "service-quotas", "pricing"):
        body = json.dumps({"__type": code, "message": message}).encode()
        return line, [("Content-Type", "application/x-amz-json-1.1")], body
    if call.service == "scheduler":
        body = json.dumps({"Message": message, "message": message}).encode()
        return line, [("Content-Type", "application/json"), ("x-amzn-errortype", code)], body
    text = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if call.service == "ec2":
        xml = f"<Response><Errors><Error>{text}</Error></Errors><RequestID>stand-in</RequestID></Response>"
    elif call.service == "s3":
        xml = f"<Error>{text}<RequestId>stand-in</RequestId></Error>"
    else:
        xml = f"<ErrorResponse><Error><Type>Sender</Type>{text}</Error><RequestId>stand-in</RequestId></ErrorResponse>"
    return line, [("Content-Type", "text/xml")], xml.encode()


def success_without_effect(call: Call) -> tuple[str, list[tuple[str, str]], bytes]:
    """AWS's word that it was done, for calls whose answer holds nothing."""
    if call.service in ("ssm", "logs"):
        return "200 OK", [("Content-Type", "application/x-amz-json-1.1")], b"{}"
    if call.service == "scheduler":
        return "200 OK", [("Content-Type", "application/json")], b'{"ScheduleArn": "arn:aws:scheduler:::schedule/x"}'
    inner = "<ResponseMetadata><RequestId>stand-in</RequestId></ResponseMetadata>"
    xml = f"<{call.action}Response>{inner}</{call.action}Response>"
    return "200 OK", [("Content-Type", "text/xml")], xml.encode()
