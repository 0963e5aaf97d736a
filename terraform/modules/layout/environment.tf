# Settings of the functions and the companions, except values that depend on resources (CMBS_SHARDS, the callers'
# accounts). The product refuses unknown variables, so a wrong name here shows at once.
locals {
  public_url = "https://${var.domain}"

  settings = {
    CMBS_EXTENSIONS      = var.settings.extensions == null ? null : join(",", var.settings.extensions)
    CMBS_DISCOVERY       = var.settings.discovery
    CMBS_ADDRESS_RANGES  = var.settings.address_ranges == null ? null : join(",", var.settings.address_ranges)
    CMBS_ALLOWED_HOSTS   = var.settings.allowed_hosts == null ? null : join(",", var.settings.allowed_hosts)
    CMBS_IGNORED_QUERY   = var.settings.ignored_query == null ? null : join(",", var.settings.ignored_query)
    CMBS_ALLOWED_ORIGINS = var.settings.allowed_origins == null ? null : join(",", var.settings.allowed_origins)
    CMBS_QUEUE_LIMIT     = var.settings.queue_limit
    CMBS_INBOX_LIMIT     = var.settings.inbox_limit
    CMBS_INBOX_BYTES     = var.settings.inbox_bytes
    CMBS_SEND_WAIT_S     = var.settings.send_wait_seconds
    CMBS_MAX_BODY_BYTES  = var.settings.max_body_bytes
    CMBS_LOG             = var.settings.log

    CMBS_IDENTITIES       = length(var.identities) == 0 ? null : join(",", var.identities)
    CMBS_ADMINISTRATORS   = length(var.administrators) == 0 ? null : jsonencode(var.administrators)
    CMBS_OIDC_ISSUERS     = length(var.oidc_issuers) == 0 ? null : jsonencode({ issuers = var.oidc_issuers })
    CMBS_OPEN_TO_EVERYONE = var.open_to_everyone ? "yes" : null
  }

  environment = merge(
    { for name, value in local.settings : name => tostring(value) if value != null },
    {
      NODE_ENV                = "production"
      GOOGLE_CLOUD_PROJECT    = var.project_id
      CMBS_PUBLIC_URL         = local.public_url
      CMBS_FIRESTORE_DATABASE = var.database
      CMBS_TOPIC_PREFIX       = var.topic_prefix
      CMBS_TOPIC_DELIVERY     = var.topic_delivery
      # The ports that the members' load balancer forwards; a socket at another port cannot be reached from outside.
      CMBS_PORT_RANGE = "${var.member_ports.first}-${var.member_ports.last}"
      # Any text that only this deployment uses, so that a token for it is valid nowhere else.
      CMBS_CONTROL_AUDIENCE = "${local.public_url}/control"
    },
    local.push == null ? {} : {
      CMBS_PUSH_URL      = local.push.url
      CMBS_PUSH_AUDIENCE = local.push.audience
    },
  )
}
