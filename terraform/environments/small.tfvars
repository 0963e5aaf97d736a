# For a trial: one shard; only the companions and the connector always run; destroying it keeps no data.
#
#   terraform apply -var-file=environments/small.tfvars -var release="$(git rev-parse --short HEAD)" -var companion_image=…

project_id     = "example-project"
project_number = "123456789012"
region         = "europe-west1"
domain         = "cmbs.example.com"

# Your own public address.
client_ranges = ["198.51.100.7/32"]
member_ranges = ["198.51.100.7/32"]
invokers      = ["allUsers"]

# Every caller from there may do everything. To let only users in, see production.tfvars.
open_to_everyone = true

release         = "1.0.0"
companion_image = "europe-west1-docker.pkg.dev/example-project/cmbs-companion/companion@sha256:0000000000000000000000000000000000000000000000000000000000000000"

firestore_location     = "europe-west1"
deletion_protection    = false
point_in_time_recovery = false
backup_days            = 0

function_settings = { max_instances = 3 }
settings          = { log = "debug" }
