# The rules of the URL map one by one. test/unit/terraform.test.ts checks that together they choose the same function as
# the program's own table for every request.

mock_provider "google" {}

run "setup" {
  module {
    source = "./tests/setup"
  }
}

run "edge" {
  module {
    source = "./modules/edge"
  }

  variables {
    name_prefix = "cmbs"
    labels      = {}
    services    = { for name in run.setup.layout.routed_functions : name => "cmbs-${name}" }
    catch_all   = run.setup.layout.catch_all
    url_rules   = run.setup.layout.url_rules
    rate_limit  = { requests = 1200, seconds = 60 }
    push_path   = null
  }

  # Each action of each function of routes.json, in each spelling, on each path: one match, in the rule of that function.
  assert {
    condition = alltrue(flatten([
      for route in jsondecode(file("routes.json")) : [
        for path in [for path in route.paths : replace(path, "/[{][a-z]+[}]/", "*")] : [
          for action in try(route.actions, []) : [
            for rule in google_compute_url_map.https.path_matcher[0].route_rules :
            rule.service == google_compute_backend_service.function[route.name].id
            if length([
              for match in rule.match_rules : match
              if(strcontains(path, "*") ? match.path_template_match : match.full_path_match) == path
              && try(match.query_parameter_matches[0].exact_match == action, false)
            ]) == 1
          ] == [true]
        ]
      ]
    ]))
    error_message = "An action of routes.json has no rule, or more than one, or one that leads to another function."
  }

  # Each path of each function without actions: a rule of its own, and before that one for actions made at run time.
  assert {
    condition = alltrue(flatten([
      for route in jsondecode(file("routes.json")) : [
        for path in [for path in route.paths : replace(path, "/[{][a-z]+[}]/", "*")] : flatten([
          for rule in google_compute_url_map.https.path_matcher[0].route_rules : [
            for match in rule.match_rules :
            "${rule.service} ${length(match.query_parameter_matches) == 0 ? "without" : "any"}"
            if(strcontains(path, "*") ? match.path_template_match : match.full_path_match) == path
            && try(coalesce(match.query_parameter_matches[0].present_match, false), true)
            && try(match.query_parameter_matches[0].name == "action", true)
          ]
          ]) == [
          "${google_compute_backend_service.function["occi"].id} any",
          "${google_compute_backend_service.function[route.name].id} without",
        ]
      ] if !can(route.actions) && !can(route.flag) && route.access != "pushed" && route.name != "occi"
    ]))
    error_message = "A path of routes.json is not led to its function, or its other actions not to the catch-all."
  }

  assert {
    condition = alltrue(flatten([
      for rule in google_compute_url_map.https.path_matcher[0].route_rules : [
        for match in rule.match_rules : [
          for query in match.query_parameter_matches : contains(["action", "send"], query.name)
        ]
      ]
    ]))
    error_message = "The URL map looks at the parameters action and send, and at no other."
  }

  # A path with a parameter of its own: a rule after those for actions and before the one without.
  assert {
    condition = flatten([
      for rule in google_compute_url_map.https.path_matcher[0].route_rules : [
        for match in rule.match_rules : try(match.query_parameter_matches[0].name, "without")
        if match.full_path_match == "/cmbs/message/"
        && try(coalesce(match.query_parameter_matches[0].present_match, false), true)
      ]
    ]) == ["action", "send", "without"]
    error_message = "POST /cmbs/message/?send has to lead to message-send."
  }

  assert {
    condition = [for rule in google_compute_url_map.https.path_matcher[0].route_rules : rule.priority] == [
      for at, rule in google_compute_url_map.https.path_matcher[0].route_rules : (at + 1) * 10
    ]
    error_message = "Rules have to be tried in the order in which they are written."
  }

  assert {
    condition     = google_compute_url_map.https.path_matcher[0].default_service == google_compute_backend_service.function["occi"].id
    error_message = "What no rule takes goes to occi."
  }

  # A few rules in words, which do not depend on routes.json.
  assert {
    condition = flatten([
      for rule in google_compute_url_map.https.path_matcher[0].route_rules : [
        for match in rule.match_rules : "${match.path_template_match}?action=${match.query_parameter_matches[0].exact_match}"
        if try(startswith(match.path_template_match, "/"), false)
      ] if rule.service == google_compute_backend_service.function["member-start-l31"].id
    ]) == ["/cmbs/member/*?action=start_l31", "/cmbs/member/*?action=start_l3.1"]
    error_message = "member-start-l31 takes both spellings of its action."
  }

  assert {
    condition = flatten([
      for rule in google_compute_url_map.https.path_matcher[0].route_rules : [
        for match in rule.match_rules : match.path_template_match if try(startswith(match.path_template_match, "/"), false)
      ] if rule.service == google_compute_backend_service.function["message-purge"].id
    ]) == ["/cmbs/message/*", "/cmbs/message/*/"]
    error_message = "message-purge takes one message and a layer's collection, which the last slash tells apart."
  }

  assert {
    condition = flatten([
      for rule in google_compute_url_map.https.path_matcher[0].route_rules :
      [for match in rule.match_rules : match.full_path_match]
      if rule.service == google_compute_backend_service.function["health"].id
    ]) == ["/healthz", "/readyz"]
    error_message = "Health is asked at /healthz and /readyz."
  }

  # Hosts, front ends, backends.
  assert {
    condition = (
      one(google_compute_url_map.https.host_rule).hosts == toset(["cmbs.example.com"])
      && google_compute_url_map.https.default_url_redirect[0].host_redirect == "cmbs.example.com"
      && google_compute_url_map.http.default_url_redirect[0].https_redirect
    )
    error_message = "Another host name, and plain HTTP, are only sent to the endpoint."
  }

  assert {
    condition = alltrue([
      for name, backend in google_compute_backend_service.function :
      backend.load_balancing_scheme == "EXTERNAL_MANAGED"
      && backend.security_policy == google_compute_security_policy.clients.id
      && one(backend.backend).group == google_compute_region_network_endpoint_group.function[name].id
      && google_compute_region_network_endpoint_group.function[name].network_endpoint_type == "SERVERLESS"
      && google_compute_region_network_endpoint_group.function[name].cloud_run[0].service == "cmbs-${name}"
    ])
    error_message = "Each function has a backend of its own, behind the list of clients."
  }

  assert {
    condition     = !contains(keys(google_compute_backend_service.function), "topic-push")
    error_message = "What Pub/Sub pushes to is not behind the load balancer."
  }

  assert {
    condition     = google_compute_ssl_policy.modern.min_tls_version == "TLS_1_2" && google_compute_target_https_proxy.https.ssl_policy == google_compute_ssl_policy.modern.id
    error_message = "TLS 1.2 is the least."
  }

  # Callers.
  assert {
    condition = {
      for rule in google_compute_security_policy.clients.rule : tostring(rule.priority) => [rule.action, one(one(rule.match).config).src_ip_ranges]
      } == {
      "1000"       = ["throttle", toset(["198.51.100.0/24"])]
      "2147483647" = ["deny(403)", toset(["*"])]
    }
    error_message = "The listed clients are let in within their rate, and nobody else."
  }
}

run "many_clients" {
  command = plan

  module {
    source = "./modules/edge"
  }

  variables {
    name_prefix   = "cmbs"
    labels        = {}
    services      = { for name in run.setup.layout.routed_functions : name => "cmbs-${name}" }
    catch_all     = run.setup.layout.catch_all
    url_rules     = run.setup.layout.url_rules
    client_ranges = [for number in range(23) : "198.51.${number}.0/24"]
    rate_limit    = { requests = 1200, seconds = 60 }
    push_path     = null
  }

  assert {
    condition     = sort([for rule in google_compute_security_policy.clients.rule : format("%d", length(one(one(rule.match).config).src_ip_ranges)) if rule.action == "throttle"]) == tolist(["10", "10", "3"])
    error_message = "Ten ranges fit into a rule; more make more rules."
  }
}
