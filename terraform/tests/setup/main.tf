# The layout for tests of single modules: the deployment's own, with the changes of a test.

variable "topic_delivery" {
  description = "pull or push."
  type        = string
  default     = "pull"
}

variable "push_through_load_balancer" {
  description = "Whether the load balancer routes to what Pub/Sub pushes to."
  type        = bool
  default     = false
}

variable "shards" {
  description = "Shards of members."
  type        = map(map(string))
  default     = { main = {}, alps = { primary_zone = "europe-west1-d", standby_zone = "europe-west1-b" } }
}

variable "secrets" {
  description = "Names of variables that come from Secret Manager."
  type        = set(string)
  default     = []
}

module "layout" {
  source = "../../modules/layout"

  routes                     = jsondecode(file("${path.module}/../../routes.json"))
  firestore                  = jsondecode(file("${path.module}/../../firestore.json"))
  project_id                 = "example-project"
  project_number             = "123456789012"
  region                     = "europe-west1"
  name_prefix                = "cmbs"
  domain                     = "cmbs.example.com"
  push_through_load_balancer = var.push_through_load_balancer
  function_settings = {
    memory        = "512Mi"
    cpu           = 1
    concurrency   = 40
    min_instances = 0
    max_instances = 10
    timeout       = 75
  }
  instances            = { occi = { min_instances = 1, memory = "1Gi" } }
  min_instances_budget = 1
  shards               = var.shards
  member_ports         = { first = 5010, last = 5040 }
  network_range        = "10.80.0.0/20"
  topic_prefix         = "cmbs"
  topic_delivery       = var.topic_delivery
  topics               = [{ name = "weather.alps" }, { name = "news", layers = ["l32"] }]
  database             = "cmbs"
  settings             = { queue_limit = 500, extensions = ["infrastructure"] }
  identities           = ["token", "oidc"]
  administrators       = ["accounts.google.com/alice@example.com", "issuer.example/CN=bob,O=Example"]
  oidc_issuers         = [{ issuer = "https://accounts.google.com", audience = ["example"], claim = "email", require = { hd = "example.com", email_verified = true } }]
  open_to_everyone     = false
  secrets              = var.secrets
}

output "layout" {
  description = "All outputs of the layout."
  value       = module.layout
}
