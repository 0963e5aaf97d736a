locals {
  pushed = one([for route in var.routes : route if route.access == "pushed"])

  # A function is reached at an address that is known before it exists, so that functions can be told of each other.
  push_service = local.pushed == null ? null : format(
    "https://%s-%s.%s.run.app", local.functions[local.pushed.name].deployed_name, var.project_number, var.region,
  )

  # `/push/{subscription}` without its last segment, which names the subscription.
  push_path = local.pushed == null ? null : trimsuffix(local.pushed.paths[0], "/{subscription}")

  push = var.topic_delivery == "push" && local.pushed != null ? {
    function = local.pushed.name
    # Cloud Run checks the token's audience, and so does the function; it is the function's address on either way.
    audience = local.push_service
    # Whoever makes a member's subscription appends the path.
    url          = var.push_through_load_balancer ? "https://${var.domain}" : local.push_service
    dead_letters = "${var.push_through_load_balancer ? "https://${var.domain}" : local.push_service}${local.push_path}/dead-letter"
  } : null

  dead_letters = {
    topic = "${var.topic_prefix}.dead-letter"
    keep  = "${var.topic_prefix}.dead-letter.keep"
    watch = "${var.topic_prefix}.dead-letter.watch"
  }

  # The same names as the product gives; only names that need no encoding are accepted (root variable `topics`).
  topics = toset(flatten([
    for topic in var.topics : [for layer in topic.layers : "${var.topic_prefix}.${layer}.${topic.name}"]
  ]))
}
