# Wiring only: modules/layout makes all decisions, and the other modules create the resources.

module "layout" {
  source = "./modules/layout"

  # Both files are generated from the program's own tables; a test compares them.
  routes    = jsondecode(file("${path.module}/routes.json"))
  firestore = jsondecode(file("${path.module}/firestore.json"))

  project_id                 = var.project_id
  project_number             = var.project_number
  region                     = var.region
  name_prefix                = var.name_prefix
  domain                     = var.domain
  push_through_load_balancer = var.push_through_load_balancer
  function_settings          = var.function_settings
  instances                  = var.instances
  min_instances_budget       = var.min_instances_budget
  shards                     = var.shards
  member_ports               = var.member_ports
  network_range              = var.network_range
  topic_prefix               = var.topic_prefix
  topic_delivery             = var.topic_delivery
  topics                     = var.topics
  database                   = var.firestore_database
  settings                   = var.settings
  identities                 = var.identities
  administrators             = var.administrators
  oidc_issuers               = var.oidc_issuers
  open_to_everyone           = var.open_to_everyone
  secrets                    = keys(var.secrets)
}

module "apis" {
  source     = "./modules/apis"
  project_id = var.project_id
}

module "registry" {
  source     = "./modules/registry"
  depends_on = [module.apis]

  project_id  = var.project_id
  region      = var.region
  name_prefix = var.name_prefix
  labels      = var.labels
}

module "identity" {
  source     = "./modules/identity"
  depends_on = [module.apis]

  project_id     = var.project_id
  project_number = var.project_number
  name_prefix    = var.name_prefix
  accesses       = module.layout.accesses
  database       = var.firestore_database
  topic_delivery = var.topic_delivery
  secrets        = var.secrets

  admin_password_secret = var.admin_password_secret
}

module "state" {
  source     = "./modules/state"
  depends_on = [module.apis]

  project_id             = var.project_id
  database               = var.firestore_database
  location               = var.firestore_location
  point_in_time_recovery = var.point_in_time_recovery
  backup_days            = var.backup_days
  deletion_protection    = var.deletion_protection
  fields                 = module.layout.firestore_fields
  indexes                = module.layout.firestore_indexes
}

module "messaging" {
  source     = "./modules/messaging"
  depends_on = [module.apis]

  project_id     = var.project_id
  project_number = var.project_number
  labels         = var.labels
  dead_letters   = module.layout.dead_letters
  topics         = module.layout.topics
  push = module.layout.push == null ? null : {
    url      = module.layout.push.dead_letters
    audience = module.layout.push.audience
    account  = module.identity.push_account
  }
}

module "companion" {
  source     = "./modules/companion"
  depends_on = [module.apis, module.state]

  project_id       = var.project_id
  region           = var.region
  name_prefix      = var.name_prefix
  labels           = var.labels
  shards           = module.layout.shards
  network          = module.layout.network
  member_ports     = module.layout.member_ports
  control_port     = module.layout.control_port
  member_ranges    = var.member_ranges
  image            = var.companion_image
  image_repository = module.registry.repository
  host_image       = var.host_image
  account          = module.identity.companion_account
  control_callers  = module.identity.control_callers
  environment      = module.layout.environment
  topic_delivery   = var.topic_delivery
  push_account     = module.identity.push_account
  secrets          = var.secrets

  admin_password_secret = var.admin_password_secret
}

module "functions" {
  source     = "./modules/functions"
  depends_on = [module.apis, module.state]

  project_id     = var.project_id
  project_number = var.project_number
  region         = var.region
  name_prefix    = var.name_prefix
  labels         = var.labels
  functions      = module.layout.functions
  runtime        = var.runtime
  release        = var.release
  directory      = startswith(var.functions_directory, "/") ? var.functions_directory : "${path.root}/${var.functions_directory}"
  environment    = merge(module.layout.environment, { CMBS_SHARDS = module.companion.shards_setting, CMBS_TRUST_PROXY = "2" })
  secrets        = var.secrets
  accounts       = module.identity.function_accounts
  build_account  = module.identity.build_account
  connector      = module.companion.connector
  invokers       = var.invokers
  topic_delivery = var.topic_delivery
  push_account   = module.identity.push_account
}

module "edge" {
  source     = "./modules/edge"
  depends_on = [module.apis]

  project_id    = var.project_id
  region        = var.region
  name_prefix   = var.name_prefix
  labels        = var.labels
  domain        = var.domain
  services      = { for name, service in module.functions.services : name => service if contains(module.layout.routed_functions, name) }
  catch_all     = module.layout.catch_all
  url_rules     = module.layout.url_rules
  client_ranges = var.client_ranges
  rate_limit    = var.rate_limit
  push_path     = var.push_through_load_balancer ? module.layout.push_path : null
}

module "observability" {
  source     = "./modules/observability"
  depends_on = [module.apis]

  project_id               = var.project_id
  name_prefix              = var.name_prefix
  labels                   = var.labels
  channels                 = var.notification_channels
  thresholds               = var.alert_thresholds
  topic_prefix             = var.topic_prefix
  dead_letter_subscription = module.messaging.dead_letter_subscription
  url_map                  = module.edge.url_map
  shards                   = keys(module.layout.shards)
}
