output "connector" {
  description = "VPC connector through which functions reach the companions."
  value       = google_vpc_access_connector.functions.id
}

output "shards" {
  description = "Each shard's public address."
  value       = local.shard_addresses
}

output "shards_setting" {
  description = "The same as the product's setting CMBS_SHARDS."
  value       = local.shards_setting
}

output "outgoing_address" {
  description = "Address that the companions' own connections come from; members elsewhere may have to let it in."
  value       = google_compute_address.outgoing.address
}
