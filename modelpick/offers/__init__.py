"""What does it cost? Instances, prices, throughput."""
