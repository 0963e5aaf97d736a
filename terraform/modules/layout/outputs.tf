output "functions" {
  description = "Every function by its name in routes.json: deployed name, entry point, access, size."
  value       = local.functions

  # Cloud Run, which runs the functions, limits names to 49 characters, and to 63 before the region in addresses.
  precondition {
    condition = alltrue([
      for function in local.functions :
      length(function.deployed_name) <= 49 && length("${function.deployed_name}-${var.project_number}") <= 63
    ])
    error_message = "A function's name becomes too long; shorten name_prefix."
  }

  precondition {
    condition     = length(setsubtract(keys(var.instances), local.names)) == 0
    error_message = "instances names functions that routes.json does not have: ${join(", ", setsubtract(keys(var.instances), local.names))}."
  }

  precondition {
    condition     = alltrue([for function in local.functions : function.min_instances <= function.max_instances])
    error_message = "A function's min_instances is above its max_instances."
  }

  precondition {
    condition     = alltrue([for function in local.functions : function.concurrency == 1 || function.cpu >= 1])
    error_message = "More than one request at a time needs a whole CPU (cpu >= 1)."
  }

  precondition {
    condition     = local.min_instances <= var.min_instances_budget
    error_message = "${local.min_instances} instances would always run, above min_instances_budget (${var.min_instances_budget}), and each is billed around the clock."
  }
}

output "accesses" {
  description = "The kinds of access that functions have, each with a service account."
  value       = toset([for route in var.routes : route.access])
}

output "catch_all" {
  description = "The function that takes what no rule does."
  value       = local.catch_all

  precondition {
    condition     = local.catch_all != null
    error_message = "routes.json has no catch-all, a function with the path /{path=**}."
  }
}

output "url_rules" {
  description = "Rules of the URL map by priority: function, and matches of path (`template`: with `*` for a segment) and of a query parameter (null: any query; value `*`: any value)."
  value       = local.url_rules

  # The load balancer's own limits.
  precondition {
    condition = alltrue(flatten([
      for rule in local.url_rules : [
        for match in rule.matches :
        length(match.path) <= 255 && length(split("*", match.path)) <= 6 && !strcontains(match.path, "{")
      ]
    ]))
    error_message = "routes.json has a path that the load balancer cannot match: over 255 characters, over five variables, or a template of another form."
  }
}

output "routed_functions" {
  description = "The functions that the load balancer reaches."
  value       = toset(concat([local.catch_all], [for route in local.routed : route.name]))
}

output "member_ports" {
  description = "First and last port of members' sockets."
  value       = var.member_ports

  precondition {
    condition     = local.control_port < var.member_ports.first || local.control_port > var.member_ports.last
    error_message = "The control port lies among the members' ports, which are open to others."
  }
}

output "control_port" {
  description = "Port of the companion's control endpoint, health and metrics."
  value       = local.control_port
}

output "network" {
  description = "Address ranges of the companions and of the functions' connector."
  value       = local.network
}

output "shards" {
  description = "Each shard's zones and machine."
  value       = local.shards

  precondition {
    condition     = alltrue([for shard in local.shards : shard.primary_zone != shard.standby_zone])
    error_message = "A shard's standby has to be in another zone than its primary."
  }

  precondition {
    condition = alltrue(flatten([
      for shard in local.shards : [for zone in [shard.primary_zone, shard.standby_zone] : startswith(zone, "${var.region}-")]
    ]))
    error_message = "A shard's zones have to lie in ${var.region}: its address is regional."
  }
}

output "public_url" {
  description = "URL of the endpoint."
  value       = local.public_url
}

output "environment" {
  description = "Environment of functions and companions alike."
  value       = local.environment

  precondition {
    condition     = length(setintersection(keys(local.environment), var.secrets)) == 0
    error_message = "A variable is given both as a setting and as a secret."
  }
}

output "push" {
  description = "Where Pub/Sub pushes to: function, its URL and audience, URL for dead letters; null when the companion pulls."
  value       = local.push

  precondition {
    condition     = var.topic_delivery == "pull" || local.pushed != null
    error_message = "topic_delivery = \"push\" needs a function with access \"pushed\" in routes.json."
  }
}

output "push_path" {
  description = "Path prefix of the function that is pushed to, null without one."
  value       = local.push_path
}

output "dead_letters" {
  description = "Names of the dead-letter topic and its subscriptions."
  value       = local.dead_letters
}

output "topics" {
  description = "Names of the Pub/Sub topics to make beforehand."
  value       = local.topics
}

output "firestore_fields" {
  description = "Fields whose indexing or expiry differs from the default."
  value       = local.firestore_fields

  precondition {
    condition     = length(local.firestore_contradictions) == 0
    error_message = "firestore.json both exempts and indexes: ${join(", ", local.firestore_contradictions)}."
  }
}

output "firestore_indexes" {
  description = "Composite indexes: collection group and fields, all ascending."
  value       = local.firestore_indexes
}
