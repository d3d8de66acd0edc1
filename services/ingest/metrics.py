"""What ingest counts. No device ids as labels: a fleet would drown the metrics store."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("dermafleet_ingest_messages", "Messages by what became of them, once committed", ["result"])
SAMPLES = Counter("dermafleet_ingest_samples", "Samples stored")
UNKNOWN = Counter("dermafleet_ingest_unknown", "Telemetry entries stored with unknown channels or fields")
RECEIVED_BYTES = Counter("dermafleet_ingest_received_bytes", "Bytes of the messages received")
LEFT_OUT = Counter("dermafleet_ingest_left_out", "Messages not taken because the inbox was overrun; devices send again")
SET_ASIDE = Counter("dermafleet_ingest_set_aside", "Messages not answered because storing them alone failed")
RETRIES = Counter("dermafleet_ingest_retries", "Batches repeated, by SQLSTATE class", ["state"])
BATCH_ENTRIES = Histogram(
    "dermafleet_ingest_batch_messages", "Messages per transaction", buckets=(1, 5, 10, 50, 100, 250, 500)
)
STORE_SECONDS = Histogram(
    "dermafleet_ingest_store_seconds",
    "Seconds from the first statement of a batch to its commit",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WAIT_SECONDS = Histogram(
    "dermafleet_ingest_wait_seconds",
    "Seconds from receiving the oldest message of a batch to its commit",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
INBOX_FILL = Gauge("dermafleet_ingest_inbox_fill", "How full the inbox is, 1 = at its bound")
SUBSCRIBED = Gauge("dermafleet_ingest_subscribed", "Whether ingest is subscribed at a broker", ["broker"])
CONNECTS = Counter("dermafleet_ingest_connects", "Connections made to a broker", ["broker"])
REFUSING = Gauge("dermafleet_ingest_refusing", "1 = bad entries are refused; 0 = withheld, see the log")
QUARANTINE_BYTES = Gauge("dermafleet_ingest_quarantine_bytes", "Space used by the quarantine")
