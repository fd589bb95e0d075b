"""The one place that knows boto3: prices, and machines that nobody can forget."""
