"""`modelpick sweep`: what was left behind, in every region."""

from modelpick.aws import status as statuses
from modelpick.aws import teardown
from modelpick.aws.teardown import Receipt
from modelpick.cli import aws_options
from modelpick.cli.aws_options import Profile, Yes
from modelpick.cli.commands.down import draw_receipts
from modelpick.cli.commands.status import draw, draw_unseen, payload, tell_unseen
from modelpick.cli.options import Region
from modelpick.cli.output import Console, Output, drawn


def sweep(out: Output, region: Region = None, profile: Profile = None, yes: Yes = False) -> None:
    """Find what was left behind in any region, and take it down. Results are kept."""
    account = aws_options.account(region, profile)
    seen = statuses.everywhere(account)
    out.detail(f"searched {', '.join(seen.regions)}")
    found = [item for item in seen.deployments if statuses.is_orphan(item)]
    receipts: list[Receipt] = []
    if found:
        out.note(drawn(lambda console: draw(console, found, "any region", account.now())))
        aws_options.agree(out, f"Take {len(found)} down?", yes=yes)
        receipts = [teardown.down(account.in_region(item.region), item.deployment, report=out.detail) for item in found]
    answer = {**payload(found, seen), "receipts": [item.as_json() for item in receipts]}
    nothing = f"nothing was left behind in any region ({len(seen.regions)} searched)"

    def screen(console: Console) -> None:
        if receipts:
            draw_receipts(console, receipts)
        else:
            console.print(nothing, markup=False)
        draw_unseen(console, seen.unseen)

    out.answer(answer, screen)
    if seen.unseen:
        tell_unseen(seen.unseen)
