# --- Where ---

variable "project_id" {
  description = "Project to deploy into, preferably a separate project: CMBS creates topics at run time, so some rights hold for the whole project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id has 6 to 30 lowercase letters, digits and dashes."
  }
}

variable "project_number" {
  description = "Number of that project: `gcloud projects describe PROJECT --format='value(projectNumber)'`. It is part of the names of Google's service agents and of the functions' addresses."
  type        = string

  validation {
    condition     = can(regex("^[1-9][0-9]{5,18}$", var.project_number))
    error_message = "project_number is the project's number, digits only, not its id."
  }
}

variable "region" {
  description = "Region of functions and companions. Firestore is placed by firestore_location; choose them near each other."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region looks like europe-west1; zones are given per shard."
  }
}

variable "name_prefix" {
  description = "First part of the name of every resource, so that two deployments can share a project."
  type        = string
  default     = "cmbs"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,10}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix has 2 to 12 lowercase letters, digits and dashes: accounts' names are short."
  }
}

variable "labels" {
  description = "Labels of everything that takes labels, for instance for the bill."
  type        = map(string)
  default     = { app = "cmbs" }

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "Labels have lowercase letters, digits, dashes and underscores."
  }
}

# --- The endpoint ---

variable "domain" {
  description = "Host name of the endpoint. Its A record has to point to the output dns_record; the certificate is issued after that."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]{2,}$", var.domain)) && length(var.domain) <= 63
    error_message = "domain is a host name such as cmbs.example.com, at most 63 characters (the certificate's bound)."
  }
}

variable "client_ranges" {
  description = "Address ranges (CIDR) that may call the endpoint. The load balancer refuses all other addresses; [\"0.0.0.0/0\"] admits every address and must be written out."
  type        = list(string)

  validation {
    condition     = length(var.client_ranges) > 0 && length(var.client_ranges) <= 100
    error_message = "client_ranges needs 1 to 100 ranges: an endpoint without callers is of no use."
  }

  validation {
    condition     = alltrue([for range in var.client_ranges : can(cidrhost(range, 0))])
    error_message = "client_ranges are CIDR ranges such as 198.51.100.0/24."
  }
}

variable "invokers" {
  description = "IAM members that may invoke the functions behind the load balancer. A client that calls one address cannot know the audience of each function's token, so the usual value is [\"allUsers\"]: functions accept traffic from the load balancer only, and client_ranges limits that."
  type        = set(string)

  validation {
    condition     = length(var.invokers) > 0
    error_message = "invokers needs at least one IAM member."
  }

  validation {
    condition     = alltrue([for member in var.invokers : can(regex("^(allUsers|allAuthenticatedUsers|(user|group|serviceAccount|domain):[^ ]+|principal(Set)?://[^ ]+)$", member))])
    error_message = "invokers are IAM members: allUsers, user:…, group:…, serviceAccount:…, domain:…, principal://…"
  }
}

variable "rate_limit" {
  description = "Requests that one client address may make in a number of seconds; above, the load balancer answers 429."
  type = object({
    requests = number
    seconds  = number
  })
  default = { requests = 1200, seconds = 60 }

  validation {
    condition     = var.rate_limit.requests >= 1 && contains([10, 30, 60, 120, 180, 240, 300, 600, 900, 1200, 1800, 2700, 3600], var.rate_limit.seconds)
    error_message = "rate_limit.seconds is one of 10, 30, 60, 120, 180, 240, 300, 600, 900, 1200, 1800, 2700, 3600 (Cloud Armor's choice), and requests at least 1."
  }
}

# --- Who may do what ---

variable "identities" {
  description = "How callers prove who they are (CMBS_IDENTITIES): basic, token, oidc. Without any, open_to_everyone must be true."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.identities : contains(["basic", "token", "oidc"], name)]) && length(distinct(var.identities)) == length(var.identities)
    error_message = "identities are of: basic, token, oidc, each once. The identity proxy cannot be used here: every request comes from Google's front end, which passes on any header of any client."
  }

  validation {
    condition     = (length(var.identities) > 0) != var.open_to_everyone
    error_message = "Set identities, or open_to_everyone = true, which lets everybody who reaches the endpoint do everything; one of them."
  }
}

variable "administrators" {
  description = "Names of users who may do everything (CMBS_ADMINISTRATORS), for instance accounts.google.com/alice@example.com; needed with identities. Names may have commas."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.administrators : can(regex("^[^[:space:][:cntrl:]]([^[:cntrl:]]*[^[:space:][:cntrl:]])?$", name))])
    error_message = "administrators are names of users, without control characters, and without spaces at the beginning and the end."
  }

  validation {
    condition     = length(var.identities) == 0 || length(var.administrators) > 0
    error_message = "identities needs administrators, or nobody could let others in."
  }
}

variable "admin_password_secret" {
  description = "Secret in Secret Manager, by its id, with the password of the first of administrators, whom the companions make a user if there is none (CMBS_ADMIN_PASSWORD_FILE); for the identity basic. The secret must exist; its latest version counts, and Terraform never reads the value."
  type        = string
  default     = null

  validation {
    condition     = var.admin_password_secret == null || can(regex("^[A-Za-z0-9_-]{1,255}$", var.admin_password_secret))
    error_message = "admin_password_secret is the id of a secret: letters, digits, dashes and underscores."
  }

  validation {
    condition     = var.admin_password_secret == null || contains(var.identities, "basic")
    error_message = "admin_password_secret needs the identity basic: nobody else logs in with a password."
  }

  validation {
    condition     = var.admin_password_secret == null || can(regex("^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", var.administrators[0]))
    error_message = "With admin_password_secret, the first of administrators is a user with a password, whose name has 1 to 64 letters, digits and . _ @ -, and begins with a letter or digit."
  }
}

# The attributes go to the program as they are written, and the values of `require` differ in type: hence no type here.
variable "oidc_issuers" {
  description = "Issuers of OpenID Connect whose tokens are accepted, for the identity oidc: a list of objects with issuer and audience, and perhaps claim, prefix, require and skew_s (docs/access.md)."
  type        = any
  default     = []

  validation {
    condition     = try(alltrue([for one in var.oidc_issuers : startswith(one.issuer, "https://") && length(one.audience) > 0]), false)
    error_message = "Each of oidc_issuers has an issuer, which begins with https://, and a list audience."
  }

  validation {
    condition     = try(alltrue([for one in var.oidc_issuers : length(setsubtract(keys(one), ["issuer", "audience", "claim", "prefix", "require", "skew_s"])) == 0]), false)
    error_message = "oidc_issuers have issuer, audience, claim, prefix, require and skew_s, and nothing else."
  }

  validation {
    condition     = contains(var.identities, "oidc") == try(length(var.oidc_issuers) > 0, false)
    error_message = "The identity oidc needs oidc_issuers, and oidc_issuers need the identity oidc."
  }
}

variable "open_to_everyone" {
  description = "Whether everybody who reaches the endpoint may do everything, in place of identities (CMBS_OPEN_TO_EVERYONE)."
  type        = bool
  default     = false
}

# --- Functions ---

variable "release" {
  description = "Name of the deployed release, for instance `git rev-parse --short HEAD`. A new value rebuilds every function from functions_directory."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9._-]{3,62}$", var.release)) && !contains(["latest", "main", "master"], var.release)
    error_message = "release is a version or commit (4 to 63 lowercase letters, digits, dots, dashes), not a name that stays the same."
  }
}

variable "functions_directory" {
  description = "Directory of the functions' archives, made by `npm run build`; relative to this folder."
  type        = string
  default     = "../dist/functions"

  validation {
    condition     = can(regex("[^/]$", var.functions_directory))
    error_message = "functions_directory is a directory, without a slash at the end."
  }
}

variable "runtime" {
  description = "Node.js runtime of the functions."
  type        = string
  default     = "nodejs24"

  validation {
    condition     = contains(["nodejs22", "nodejs24"], var.runtime)
    error_message = "runtime is nodejs22 (supported to October 2027) or nodejs24 (to October 2028); nodejs20 can no longer be deployed."
  }
}

variable "function_settings" {
  description = "Size of every function that `instances` does not list; timeout in seconds."
  type = object({
    memory        = optional(string, "512Mi")
    cpu           = optional(number, 1)
    concurrency   = optional(number, 40)
    min_instances = optional(number, 0)
    max_instances = optional(number, 10)
    timeout       = optional(number, 75)
  })
  default = {}

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.function_settings.memory))
    error_message = "memory looks like 512Mi or 1Gi."
  }

  validation {
    condition     = var.function_settings.timeout >= 70 && var.function_settings.timeout <= 3600
    error_message = "timeout is 70 to 3600 seconds: a request may wait a minute for its outcome, and has to be answered after that."
  }

  validation {
    condition     = var.function_settings.max_instances >= 1 && var.function_settings.max_instances <= 100 && var.function_settings.min_instances >= 0
    error_message = "max_instances is 1 to 100, which bounds the load on Firestore and the bill, and min_instances at least 0."
  }

  validation {
    condition     = var.function_settings.concurrency >= 1 && var.function_settings.concurrency <= 1000
    error_message = "concurrency is 1 to 1000."
  }
}

variable "instances" {
  description = "Sizes of single functions by their names in routes.json, for instance { occi = { min_instances = 1 } }."
  type = map(object({
    memory        = optional(string)
    cpu           = optional(number)
    concurrency   = optional(number)
    min_instances = optional(number)
    max_instances = optional(number)
  }))
  default = {}

  validation {
    condition     = alltrue([for one in var.instances : one.memory == null || can(regex("^[1-9][0-9]*(Mi|Gi)$", one.memory))])
    error_message = "memory looks like 512Mi or 1Gi."
  }

  validation {
    condition     = alltrue([for one in var.instances : try(one.max_instances >= 1 && one.max_instances <= 100, one.max_instances == null) && try(one.min_instances >= 0, one.min_instances == null)])
    error_message = "max_instances is 1 to 100, and min_instances at least 0."
  }
}

variable "min_instances_budget" {
  description = "Largest sum of all functions' min_instances. Each is billed around the clock, even when idle."
  type        = number
  default     = 2

  validation {
    condition     = var.min_instances_budget >= 0 && floor(var.min_instances_budget) == var.min_instances_budget
    error_message = "min_instances_budget is a whole number, 0 or more."
  }
}

# --- Firestore ---

variable "firestore_database" {
  description = "Name of the Firestore database."
  type        = string
  default     = "cmbs"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,61}[a-z0-9]$", var.firestore_database))
    error_message = "firestore_database has 4 to 63 lowercase letters, digits and dashes; the database (default) is left to others."
  }
}

variable "firestore_location" {
  description = "Location of the database, which cannot change later: a region such as europe-west1, or eur3 or nam5 for several."
  type        = string

  validation {
    condition     = can(regex("^([a-z]+-[a-z]+[0-9]+|eur3|nam5|nam7)$", var.firestore_location))
    error_message = "firestore_location is a region such as europe-west1, or eur3, nam5 or nam7."
  }
}

variable "point_in_time_recovery" {
  description = "Whether the database can be read as it was at any minute of the last seven days (storage of old versions is billed)."
  type        = bool
  default     = true
}

variable "backup_days" {
  description = "Days that daily backups are kept; 0 makes none."
  type        = number
  default     = 7

  validation {
    condition     = var.backup_days >= 0 && var.backup_days <= 98 && floor(var.backup_days) == var.backup_days
    error_message = "backup_days is a whole number from 0 to 98 (14 weeks, Firestore's bound)."
  }
}

variable "deletion_protection" {
  description = "Whether the database refuses to be deleted. To destroy a deployment with its data, first apply with false."
  type        = bool
  default     = true
}

# --- Pub/Sub ---

variable "topic_prefix" {
  description = "First part of the name of every topic and subscription."
  type        = string
  default     = "cmbs"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,19}$", var.topic_prefix)) && !startswith(var.topic_prefix, "goog")
    error_message = "topic_prefix has 3 to 20 lowercase letters, digits and dashes, and does not start with goog, which Pub/Sub keeps for itself."
  }
}

variable "topic_delivery" {
  description = "How topic messages reach members: pull (the companion pulls; lowest latency) or push (Pub/Sub calls a function; works while no companion runs)."
  type        = string
  default     = "pull"

  validation {
    condition     = contains(["pull", "push"], var.topic_delivery)
    error_message = "topic_delivery is pull or push."
  }
}

variable "push_through_load_balancer" {
  description = "Whether Pub/Sub pushes to the endpoint instead of the function's own address. That opens /push/ at the load balancer to every address; the function still wants a signed token."
  type        = bool
  default     = false
}

variable "topics" {
  description = "CMBS topics to create in advance, so that outside subscribers can attach before the first message. CMBS creates all others on first use."
  type = list(object({
    name   = string
    layers = optional(set(string), ["l32", "l4"])
  }))
  default = []

  validation {
    condition     = alltrue([for topic in var.topics : can(regex("^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$", topic.name)) && length(topic.name) <= 200])
    error_message = "topics can be declared when their names need no encoding: words of letters, digits, dashes and underscores between dots."
  }

  validation {
    condition     = alltrue(flatten([for topic in var.topics : [for layer in topic.layers : contains(["l32", "l4"], layer)]]))
    error_message = "Topics have the layers l32 and l4."
  }
}

# --- Companions ---

variable "companion_image" {
  description = "Container image of the companion, REGION-docker.pkg.dev/PROJECT/REPOSITORY/companion@sha256:…, by digest so that it cannot change under a machine that restarts."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}$", var.companion_image))
    error_message = "companion_image names registry, image and digest (@sha256:…). A tag could move under a machine that restarts."
  }
}

variable "shards" {
  description = "Shards of members, by name: each has a public address, and two companions in two zones of the region (b and c by default) of which one works. A shard has as many sockets as member_ports has ports."
  type = map(object({
    primary_zone = optional(string)
    standby_zone = optional(string)
    machine_type = optional(string, "e2-small")
  }))
  default = { main = {} }

  validation {
    condition     = contains(keys(var.shards), "main") && length(var.shards) <= 20
    error_message = "shards needs 1 to 20 entries, and one of them is main, which takes members whose sockets are at no shard's address."
  }

  validation {
    condition     = alltrue([for name in keys(var.shards) : can(regex("^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$", name))])
    error_message = "A shard's name has 1 to 16 lowercase letters, digits and dashes."
  }
}

variable "member_ports" {
  description = "First and last port of members' sockets at a shard's address. Each layer that a member takes part in needs a port: by default 31, for six members on all five layers; a socket at another port cannot be reached from outside."
  type        = object({ first = number, last = number })
  default     = { first = 5010, last = 5040 }

  validation {
    condition     = var.member_ports.first >= 1024 && var.member_ports.first <= var.member_ports.last && var.member_ports.last <= 32767
    error_message = "member_ports is a range within 1024 to 32767: below are ports of the system, above those of its outgoing connections."
  }
}

variable "member_ranges" {
  description = "Address ranges (CIDR) that may connect to members' sockets (member_ports), which do not authenticate callers. Empty: no outside address."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.member_ranges : can(cidrhost(range, 0))])
    error_message = "member_ranges are CIDR ranges such as 198.51.100.0/24."
  }

  validation {
    condition     = alltrue([for range in var.member_ranges : can(cidrnetmask(range))])
    error_message = "member_ranges are IPv4 ranges: shards have IPv4 addresses."
  }
}

variable "network_range" {
  description = "A private /20 for the companions' network, which belongs to this deployment only."
  type        = string
  default     = "10.80.0.0/20"

  validation {
    condition     = can(regex("^(10|172[.](1[6-9]|2[0-9]|3[01])|192[.]168)[.].*/20$", var.network_range)) && can(cidrhost(var.network_range, 0))
    error_message = "network_range is a /20 of private addresses, such as 10.80.0.0/20."
  }
}

variable "host_image" {
  description = "Container-Optimized OS image of the companions' machines: with a family, each new machine gets the latest update."
  type        = string
  default     = "projects/cos-cloud/global/images/family/cos-stable"

  validation {
    condition     = startswith(var.host_image, "projects/cos-cloud/global/images/")
    error_message = "host_image is an image or family of the project cos-cloud: the machines are set up for Container-Optimized OS."
  }
}

# --- The product's settings ---

variable "settings" {
  description = "The product's own settings (docs/reference/settings.md). An absent setting keeps its default, except that discovery is closed: an endpoint on the internet does not register every peer that connects."
  type = object({
    extensions        = optional(list(string))
    allowed_hosts     = optional(list(string))
    allowed_origins   = optional(list(string))
    ignored_query     = optional(list(string))
    discovery         = optional(string, "closed")
    address_ranges    = optional(list(string))
    queue_limit       = optional(number)
    inbox_limit       = optional(number)
    inbox_bytes       = optional(number)
    send_wait_seconds = optional(number)
    max_body_bytes    = optional(number)
    log               = optional(string)
  })
  default = {}

  validation {
    condition     = contains(["open", "closed"], var.settings.discovery)
    error_message = "discovery is open or closed."
  }

  validation {
    condition     = var.settings.address_ranges == null || try(alltrue([for range in var.settings.address_ranges : can(cidrhost(range, 0))]), false)
    error_message = "address_ranges are CIDR ranges such as 10.0.0.0/8."
  }

  validation {
    condition     = var.settings.extensions == null || try(alltrue([for name in var.settings.extensions : can(regex("^[a-z-]+$", name))]), false)
    error_message = "extensions are names such as infrastructure."
  }

  validation {
    condition     = var.settings.send_wait_seconds == null || try(var.settings.send_wait_seconds >= 0 && var.settings.send_wait_seconds <= 60, false)
    error_message = "send_wait_seconds is 0 to 60."
  }

  validation {
    condition     = var.settings.max_body_bytes == null || try(var.settings.max_body_bytes >= 1024 && var.settings.max_body_bytes <= 16777216, false)
    error_message = "max_body_bytes is 1024 to 16777216."
  }

  validation {
    condition     = var.settings.log == null || try(contains(["debug", "info"], var.settings.log), false)
    error_message = "log is debug or info: alerts depend on lines of the level info."
  }
}

variable "secrets" {
  description = "Environment variables with values in Secret Manager, by variable: the secret's id, its version, and its readers: functions by access (store, companion, bus, pushed) and the companion's host (host). The secrets must exist; Terraform never reads their values."
  type = map(object({
    secret  = string
    version = optional(string, "latest")
    readers = optional(set(string), ["store", "companion", "bus", "pushed", "host"])
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.secrets) : can(regex("^[A-Z][A-Z0-9_]{0,63}$", name))])
    error_message = "secrets are keyed by environment variables, such as CMBS_EXAMPLE."
  }

  validation {
    condition     = alltrue([for secret in var.secrets : can(regex("^[A-Za-z0-9_-]{1,255}$", secret.secret)) && can(regex("^(latest|[1-9][0-9]*)$", secret.version))])
    error_message = "A secret is named by its id, and its version is a number or latest."
  }

  validation {
    condition     = alltrue(flatten([for secret in var.secrets : [for reader in secret.readers : contains(["store", "companion", "bus", "pushed", "host"], reader)]]))
    error_message = "readers are of: store, companion, bus, pushed, host."
  }
}

# --- Alerts ---

variable "notification_channels" {
  description = "Channels that receive alerts: projects/PROJECT/notificationChannels/… Without a channel, incidents appear in the console only."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for channel in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))])
    error_message = "notification_channels look like projects/PROJECT/notificationChannels/NUMBER."
  }
}

variable "alert_thresholds" {
  description = "When alerts fire: age of the oldest unread topic message, share of 5xx answers, minutes without a holder of a shard's lease."
  type = object({
    oldest_unacked_seconds = optional(number, 600)
    error_ratio            = optional(number, 0.05)
    lease_missing_minutes  = optional(number, 5)
  })
  default = {}

  validation {
    condition     = var.alert_thresholds.error_ratio > 0 && var.alert_thresholds.error_ratio < 1
    error_message = "error_ratio lies between 0 and 1."
  }

  validation {
    condition     = var.alert_thresholds.oldest_unacked_seconds > 0 && var.alert_thresholds.lease_missing_minutes >= 2
    error_message = "oldest_unacked_seconds is above 0, and lease_missing_minutes at least 2, since the lease is reported once a minute."
  }
}
