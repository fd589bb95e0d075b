"""A stand-in for the parts of AWS that tell prices, on loopback, for the real boto3: Price List, spot history, savings
plans. It answers what it was given, page by page, and fails as AWS fails where it is told to.

moto has no Price List and no savings plans, and its spot prices never change.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

PAGE = 3  # items a page: small, so that every test turns pages


@dataclass
class Aws:
    """What the stand-in answers. `products`: price list items; `fail`: service -> (code, message, status)."""

    url: str = ""
    products: list[dict[str, Any]] = field(default_factory=list)
    spot: list[dict[str, Any]] = field(default_factory=list)
    savings: list[dict[str, Any]] = field(default_factory=list)
    fail: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    ignore_filters: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)

    def sell(self, name: str, region: str, usd: float, **attributes: str) -> None:
        """Puts one product on the price list: Linux, shared tenancy, on demand, unless `attributes` say otherwise."""
        told = {
            "instanceType": name,
            "regionCode": region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "capacitystatus": "Used",
            "preInstalledSw": "NA",
            "marketoption": "OnDemand",
            **attributes,
        }
        sku = f"SKU{len(self.products)}"
        dimension = {"unit": "Hrs", "pricePerUnit": {"USD": f"{usd:.10f}"}}
        terms = {"OnDemand": {f"{sku}.T": {"priceDimensions": {f"{sku}.T.D": dimension}}}}
        self.products.append({"product": {"sku": sku, "attributes": told}, "serviceCode": "AmazonEC2", "terms": terms})

    def spot_price(self, name: str, zone: str, usd: float, when: datetime) -> None:
        """One change of a spot price."""
        stamp = when.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.spot.append(
            {"instanceType": name, "availabilityZone": zone, "spotPrice": f"{usd:.6f}", "timestamp": stamp}
        )


@contextmanager
def serving() -> Iterator[Aws]:
    """A running stand-in."""
    state = Aws()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: Aws) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "AWSPriceListService" in self.headers.get("X-Amz-Target", ""):
                self._reply_json("pricing", json.loads(body), _price_list)
            elif self.path == "/DescribeSavingsPlansOfferingRates":
                self._reply_json("savingsplans", json.loads(body), _savings)
            else:
                self._spot({key: values[0] for key, values in parse_qs(body.decode()).items()})

        def _reply_json(self, service: str, asked: dict[str, Any], answer: Any) -> None:
            state.requests.append({"service": service, **asked})
            if service in state.fail:
                code, message, status = state.fail[service]
                self._send(json.dumps({"__type": code, "message": message}), "application/x-amz-json-1.1", status, code)
            else:
                self._send(json.dumps(answer(state, asked)), "application/x-amz-json-1.1", 200)

        def _spot(self, asked: dict[str, str]) -> None:
            state.requests.append({"service": "ec2", **asked})
            if "ec2" in state.fail:
                code, message, status = state.fail["ec2"]
                wrong = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
                self._send(f"<Response><Errors><Error>{wrong}</Error></Errors></Response>", "text/xml", status)
                return
            names = {value for key, value in asked.items() if key.startswith("InstanceType.")}
            chosen = [row for row in state.spot if row["instanceType"] in names]
            page, more = _page(chosen, asked.get("NextToken"))
            rows = "".join(
                f"<item>{_xml(row)}<productDescription>Linux/UNIX</productDescription></item>" for row in page
            )
            token = f"<nextToken>{more or ''}</nextToken>"
            kind = "DescribeSpotPriceHistoryResponse"
            self._send(f"<{kind}>{token}<spotPriceHistorySet>{rows}</spotPriceHistorySet></{kind}>", "text/xml", 200)

        def _send(self, text: str, kind: str, status: int, code: str | None = None) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if code is not None:
                self.send_header("x-amzn-ErrorType", code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


def _price_list(state: Aws, asked: dict[str, Any]) -> dict[str, Any]:
    wanted = {one["Field"]: one["Value"] for one in asked.get("Filters", [])}
    chosen = [
        item
        for item in state.products
        if state.ignore_filters or all(item["product"]["attributes"].get(k) == v for k, v in wanted.items())
    ]
    page, more = _page(chosen, asked.get("NextToken"))
    answer: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(item) for item in page]}
    return answer | ({"NextToken": more} if more else {})


def _savings(state: Aws, asked: dict[str, Any]) -> dict[str, Any]:
    names = next(one["values"] for one in asked["filters"] if one["name"] == "instanceType")
    chosen = [row for row in state.savings if any(p["value"] in names for p in row["properties"])]
    page, more = _page(chosen, asked.get("nextToken"))
    return {"searchResults": page} | ({"nextToken": more} if more else {})


def _page(rows: list[dict[str, Any]], token: str | None) -> tuple[list[dict[str, Any]], str | None]:
    start = int(token or 0)
    end = start + PAGE
    return rows[start:end], str(end) if end < len(rows) else None


def _xml(row: dict[str, Any]) -> str:
    return "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in row.items())
