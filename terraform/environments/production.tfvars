# Two shards, warm entry functions, data in two regions with backups, and alerts to a channel.

project_id     = "example-production"
project_number = "210987654321"
region         = "europe-west1"
domain         = "cmbs.example.com"
labels         = { app = "cmbs", environment = "production" }

client_ranges = ["198.51.100.0/24", "203.0.113.0/24"]
invokers      = ["allUsers"]
rate_limit    = { requests = 3000, seconds = 60 }

# Users of the organisation log in with Google's identity tokens for this client; access tokens are for programs.
identities     = ["token", "oidc"]
administrators = ["accounts.google.com/alice@example.com"]
oidc_issuers = [{
  issuer   = "https://accounts.google.com"
  audience = ["1234567890-example.apps.googleusercontent.com"]
  claim    = "email"
  require  = { hd = "example.com" }
}]

# Set both at every release, see README.md.
release         = "1.0.0"
companion_image = "europe-west1-docker.pkg.dev/example-production/cmbs-companion/companion@sha256:0000000000000000000000000000000000000000000000000000000000000000"

# The functions with the most requests, and those that a member waits for.
instances = {
  occi            = { min_instances = 1, memory = "1Gi" }
  member-inbox    = { min_instances = 1, max_instances = 40, concurrency = 80 }
  message-send-l1 = { min_instances = 1, max_instances = 20 }
}
min_instances_budget = 3

firestore_location = "eur3"
backup_days        = 14

shards = {
  main   = { machine_type = "e2-standard-2" }
  second = { machine_type = "e2-standard-2", primary_zone = "europe-west1-c", standby_zone = "europe-west1-d" }
}
member_ranges = ["203.0.113.0/24"]

notification_channels = ["projects/example-production/notificationChannels/1234567890123456789"]
alert_thresholds      = { error_ratio = 0.01, oldest_unacked_seconds = 120 }
