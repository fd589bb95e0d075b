"""The one place that knows boto3: prices, and the machine itself."""
