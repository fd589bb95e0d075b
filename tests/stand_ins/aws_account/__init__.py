"""A stand-in AWS account on loopback: moto's server, and around it what moto lacks.

with aws_account.serve() as aws:          # a process of its own; real boto3 talks to it by AWS_ENDPOINT_URL
    aws.no_capacity(type="g5.xlarge")     # what the account is like
    aws.fail("UpdateAutoScalingGroup", code="Throttling", times=99)
    aws.kill(pid, call=7, when="after")   # SIGKILL of a client at its 7th mutating call
    aws.advance(hours=3)                  # the simulated clock: scheduled actions and schedules fire, the bill runs
    aws.state()                           # what runs, what is armed, what was spent
    aws.save() ... aws.restore()          # the whole account as it was, by fork
"""

from tests.stand_ins.aws_account.control import Aws, serve

__all__ = ["Aws", "serve"]
