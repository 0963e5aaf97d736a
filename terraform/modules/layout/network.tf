locals {
  # Where members' sockets may be, one port per layer and member, and where the companion is controlled. The range is
  # one forwarding rule; the control port is in none.
  member_ports = { first = 5010, last = 5040 }
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
