locals {
  pushed = one([for route in var.routes : route if route.access == "pushed"])

  # A function's address that is known before the function exists, so that functions can have each other's addresses.
  push_service = local.pushed == null ? null : format(
    "https://%s-%s.%s.run.app", local.functions[local.pushed.name].deployed_name, var.project_number, var.region,
  )

  # `/push/{subscription}` without its last segment, which names the subscription.
  push_path = local.pushed == null ? null : trimsuffix(local.pushed.paths[0], "/{subscription}")

  push = var.topic_delivery == "push" && local.pushed != null ? {
    function = local.pushed.name
    # Cloud Run and the function check the token's audience, which is the function's address on both ways.
    audience = local.push_service
    # The program that creates a member's subscription appends the path.
    url          = var.push_through_load_balancer ? "https://${var.domain}" : local.push_service
    dead_letters = "${var.push_through_load_balancer ? "https://${var.domain}" : local.push_service}${local.push_path}/dead-letter"
  } : null

  dead_letters = {
    topic = "${var.topic_prefix}.dead-letter"
    keep  = "${var.topic_prefix}.dead-letter.keep"
    watch = "${var.topic_prefix}.dead-letter.watch"
  }

  # The product's names. The root variable `topics` accepts only names that need no encoding.
  topics = toset(flatten([
    for topic in var.topics : [for layer in topic.layers : "${var.topic_prefix}.${layer}.${topic.name}"]
  ]))
}
