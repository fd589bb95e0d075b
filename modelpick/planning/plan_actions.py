"""What `up` does, step by step: the one list that a plan shows and that modelpick.aws carries out. Pure.

The order is the point: everything free first, then the two kill switches inside AWS, read back, and only then
the one call that costs money.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "modelpick"  # of every name in the account (modelpick.aws.names, held to this by a test)
DELETE_AFTER_MINUTES = 20  # the second switch fires after the first and deletes a group that did not shrink

Phase = Literal["check", "free", "switches", "pay", "run", "end"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `key` is its own name, `title` what `up` and the plan's screen say, `action` what a plan file says.

    `creates` and `note` are templates over name, short, region, disk_gb, max_hours, delete_minutes and others. `when`
    names what a plan must have for the step to be shown. `since_first` is False for a step that plan files of before
    it do not list.
    """

    key: str
    title: str
    phase: Phase
    action: str
    creates: str | None
    note: str
    when: Literal["always", "gated", "serve", "finetune"] = "always"
    since_first: bool = True


# fmt: off
STEPS: tuple[Step, ...] = (
    Step("account", "check the account", "check", "check_account", None,
         "identity, quota, zones, image, live price: read only"),
    Step("bucket", "create the bucket", "free", "create_bucket", "{name}-*",
         "private, encrypted, objects expire; its name ends with account and region"),
    Step("logs", "create the log group", "free", "create_log_group", "/{prefix}/{short}", "entries expire"),
    Step("guest_role", "create the machine's role", "free", "create_role", "{name}-{region}-guest",
         "role and instance profile, for this deployment's names only"),
    Step("switch_role", "create the delete role", "free", "create_role", "{name}-{region}-switch",
         "lets the forced delete remove this group, nothing else"),
    Step("security_group", "create the security group", "free", "create_security_group", "{name}",
         "no inbound rule: access through Session Manager"),
    Step("hub_token", "store the Hub token", "free", "store_hub_token", "/{prefix}/{short}/hub-token",
         "SecureString, read by the instance's role alone", when="gated"),
    Step("api_key", "store the API key", "free", "store_api_key", "/{prefix}/{short}/api-key",
         "SecureString, made at the start; read by the instance's role and by `connect`", when="serve"),
    Step("bundle", "upload the bundle", "free", "upload_bundle", "{name}-*", "the commands, and the training data",
         since_first=False),
    Step("template", "create the launch template", "free", "create_launch_template", "{name}",
         "IMDSv2 required; {disk_gb} GB gp3, deleted with the instance; id in every name and tag"),
    Step("group", "create the group, at zero", "free", "create_group", "{name}",
         "desired capacity 0; the first candidate, over all zones that offer it{next_ones}"),
    Step("arm_stop", "schedule the stop (verified)", "switches", "arm_stop", "{name}-stop",
         "the group goes to 0 after {max_hours:g} h"),
    Step("arm_delete", "schedule the forced delete (verified)", "switches", "arm_delete", "{name}",
         "the group is deleted {delete_minutes} min later"),
    Step("read_back", "read both schedules back", "switches", "read_back_switches", None,
         "unless both exist with the right times, nothing is started"),
    Step("start", "start the machine", "pay", "start", "one instance", "desired capacity 1"),
    Step("hold_size", "never replace the machine", "run", "hold_size", None,
         "replacement is suspended, so that a shut-down is final"),
    Step("finetune", "fine-tune", "run", "finetune", "{name}/result",
         "checkpoints and the result go to S3", when="finetune"),
    Step("serve", "serve", "run", "serve", None, "on loopback, reached by port forwarding", when="serve"),
    Step("stop", "stop when done or idle", "end", "stop", None,
         "the machine sets its own group to 0 when done or idle"),
    Step("down", "take everything down", "end", "down", None,
         "paid resources first; ends with a receipt"),
)
# fmt: on


def title(key: str) -> str:
    """What a step is called on the screen."""
    return next(step.title for step in STEPS if step.key == key)
