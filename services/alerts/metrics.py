"""What alerts counts. Names and labels are an interface: dashboards and alert rules of operators use them."""

from prometheus_client import Counter, Gauge, Histogram

entries = Counter("dermafleet_alerts_entries", "Log entries evaluated")
samples = Counter("dermafleet_alerts_samples", "Samples of the entries evaluated")
lost = Counter("dermafleet_alerts_lost_entries", "Missing entries declared lost after waiting for them")
transitions = Counter("dermafleet_alerts_transitions", "Steps in the life of alarms", ["fault", "transition"])
failures = Counter("dermafleet_alerts_failures", "Steps that failed", ["kind"])
step_seconds = Histogram("dermafleet_alerts_step_seconds", "Duration of one step of one device")
pending = Gauge("dermafleet_alerts_pending_devices", "Devices with something to read at the last poll")
