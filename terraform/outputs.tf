output "endpoint" {
  description = "URL of the OCCI endpoint."
  value       = module.layout.public_url
}

output "dns_record" {
  description = "DNS record to set for the domain; the certificate is issued some minutes after Google sees it."
  value       = { name = var.domain, type = "A", value = module.edge.address }
}

output "shards" {
  description = "Each shard's public address and ports, for members' l1_socket … l4_socket."
  value = {
    for name, address in module.companion.shards : name => {
      address = address
      ports   = "${module.layout.member_ports.first}-${module.layout.member_ports.last}"
    }
  }
}

output "outgoing_address" {
  description = "Address that the companions' own connections come from, for the firewalls of members elsewhere."
  value       = module.companion.outgoing_address
}

output "topics" {
  description = "Names in Pub/Sub: the common prefix, the topic of dead letters and its subscription, and topics created in advance."
  value = {
    prefix                   = var.topic_prefix
    dead_letters             = module.messaging.dead_letter_topic
    dead_letter_subscription = module.messaging.dead_letter_subscription
    beforehand               = module.messaging.topics
  }
}

output "firestore_database" {
  description = "Name of the Firestore database."
  value       = module.state.database
}

output "service_accounts" {
  description = "Service accounts: of the functions by access, of the companion, of push delivery (null with pull)."
  value = {
    functions = module.identity.function_accounts
    companion = module.identity.companion_account
    push      = module.identity.push_account
  }
}

output "function_urls" {
  description = "Each function's own URL. It answers the load balancer and Google's own services only."
  value       = module.functions.urls
}

output "companion_image_repository" {
  description = "Where to push the companion's image."
  value       = module.registry.url
}
