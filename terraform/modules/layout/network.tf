locals {
  # The control port of the companion: in no forwarding rule, unlike the members' ports.
  control_port = 8080

  network = {
    companions = cidrsubnet(var.network_range, 4, 0)  # the first /24
    connector  = cidrsubnet(var.network_range, 8, 16) # a /28, which a connector has to have, after it
  }

  shards = {
    for name, shard in var.shards : name => {
      # Zones b and c exist in every region.
      primary_zone = coalesce(shard.primary_zone, "${var.region}-b")
      standby_zone = coalesce(shard.standby_zone, "${var.region}-c")
      machine_type = shard.machine_type
    }
  }
}
