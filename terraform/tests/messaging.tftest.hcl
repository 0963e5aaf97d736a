# Dead letters are kept, read and counted; topics have the product's names.

mock_provider "google" {}

run "setup" {
  module {
    source = "./tests/setup"
  }
}

run "pull" {
  module {
    source = "./modules/messaging"
  }

  variables {
    labels       = {}
    dead_letters = run.setup.layout.dead_letters
    topics       = run.setup.layout.topics
    push         = null
  }

  assert {
    condition = [google_pubsub_topic.dead_letters.name, google_pubsub_subscription.keep.name, google_pubsub_subscription.watch.name] == [
      "cmbs.dead-letter", "cmbs.dead-letter.keep", "cmbs.dead-letter.watch"
    ]
    error_message = "Dead letters have a topic and two subscriptions."
  }

  assert {
    condition     = google_pubsub_subscription.keep.message_retention_duration == "2678400s"
    error_message = "Dead letters are kept for 31 days."
  }

  assert {
    condition = alltrue([
      for subscription in [google_pubsub_subscription.keep, google_pubsub_subscription.watch] :
      subscription.expiration_policy[0].ttl == "" && subscription.topic == google_pubsub_topic.dead_letters.id
    ])
    error_message = "A subscription of dead letters is not deleted because there are none."
  }

  assert {
    condition = (
      google_pubsub_topic_iam_member.dead_letters.role == "roles/pubsub.publisher"
      && google_pubsub_topic_iam_member.dead_letters.topic == "cmbs.dead-letter"
      && google_pubsub_topic_iam_member.dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    )
    error_message = "Pub/Sub itself publishes dead letters."
  }

  assert {
    condition     = length(google_pubsub_subscription.watch.push_config) == 0
    error_message = "Where the companion pulls, nothing is pushed."
  }

  assert {
    condition     = toset(keys(google_pubsub_topic.beforehand)) == toset(["cmbs.l32.news", "cmbs.l32.weather.alps", "cmbs.l4.weather.alps"])
    error_message = "A declared topic has one Pub/Sub topic per layer."
  }
}

run "setup_push" {
  module {
    source = "./tests/setup"
  }

  variables {
    topic_delivery = "push"
  }
}

run "push" {
  module {
    source = "./modules/messaging"
  }

  variables {
    labels       = {}
    dead_letters = run.setup_push.layout.dead_letters
    topics       = []
    push         = { url = run.setup_push.layout.push.dead_letters, audience = run.setup_push.layout.push.audience, account = "push@example.com" }
  }

  assert {
    condition     = google_pubsub_subscription.watch.push_config[0].push_endpoint == "https://cmbs-topic-push-123456789012.europe-west1.run.app/push/dead-letter"
    error_message = "Dead letters are pushed to topic-push, at its own address."
  }

  assert {
    condition = (
      google_pubsub_subscription.watch.push_config[0].oidc_token[0].service_account_email == "push@example.com"
      && google_pubsub_subscription.watch.push_config[0].oidc_token[0].audience == "https://cmbs-topic-push-123456789012.europe-west1.run.app"
    )
    error_message = "A push carries a token of the push account for that function."
  }

  assert {
    condition     = length(google_pubsub_subscription.keep.push_config) == 0
    error_message = "What is kept for an operator is pushed to nobody."
  }

  assert {
    condition = (
      run.setup_push.layout.environment.CMBS_PUSH_URL == "https://cmbs-topic-push-123456789012.europe-west1.run.app"
      && run.setup_push.layout.environment.CMBS_PUSH_AUDIENCE == "https://cmbs-topic-push-123456789012.europe-west1.run.app"
    )
    error_message = "Who makes a member's subscription is told where it pushes to."
  }

  assert {
    condition     = !contains(run.setup_push.layout.routed_functions, "topic-push")
    error_message = "Even then the load balancer does not lead there."
  }
}

run "setup_push_through" {
  module {
    source = "./tests/setup"
  }

  variables {
    topic_delivery             = "push"
    push_through_load_balancer = true
  }

  assert {
    condition     = output.layout.push.url == "https://cmbs.example.com" && output.layout.push.dead_letters == "https://cmbs.example.com/push/dead-letter" && output.layout.push.audience == "https://cmbs-topic-push-123456789012.europe-west1.run.app"
    error_message = "Through the load balancer the URL is the endpoint's, and the token is still for the function."
  }
}

run "edge_push_through" {
  module {
    source = "./modules/edge"
  }

  variables {
    name_prefix = "cmbs"
    labels      = {}
    services    = { for name in run.setup_push_through.layout.routed_functions : name => "cmbs-${name}" }
    catch_all   = run.setup_push_through.layout.catch_all
    url_rules   = run.setup_push_through.layout.url_rules
    rate_limit  = { requests = 1200, seconds = 60 }
    push_path   = run.setup_push_through.layout.push_path
  }

  assert {
    condition = flatten([
      for rule in google_compute_url_map.https.path_matcher[0].route_rules : [
        for match in rule.match_rules : match.path_template_match
      ] if rule.service == google_compute_backend_service.function["topic-push"].id
    ]) == ["/push/*"]
    error_message = "The load balancer leads to topic-push where that is asked for."
  }

  assert {
    condition = [
      for rule in google_compute_security_policy.clients.rule : one(one(rule.match).expr).expression if rule.priority == 900
    ] == ["request.path.startsWith(\"/push/\")"]
    error_message = "Pub/Sub's addresses are let in, to /push/ only."
  }
}
