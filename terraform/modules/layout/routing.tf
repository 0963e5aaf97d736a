# The URL map as data. The load balancer applies the first matching rule by priority, so the order is:
#   1. a path with an action that has a function of its own       -> that function
#   2. the same paths with any other action (made at run time)    -> the catch-all
#   3. a path with a query parameter that has a function (?send)  -> that function
#   4. a path without any of these                                -> the function of the path
# All other requests go to the catch-all, the default service. Methods are not matched: a GET with ?action= reaches the
# action's function, which refuses it.
locals {
  catch_all = one([for route in var.routes : route.name if contains(route.paths, "/{path=**}")])

  # Pub/Sub pushes to the function's own address; through the load balancer only if the variable says so.
  routed = [
    for route in var.routes : route
    if route.name != local.catch_all && (route.access != "pushed" || var.push_through_load_balancer)
  ]

  own_actions = [
    for route in local.routed : {
      function = route.name
      matches  = flatten([for path in route.paths : [for action in route.actions : { path = path, parameter = "action", value = action }]])
    } if length(route.actions) > 0
  ]

  other_actions = [
    for route in local.routed : {
      function = local.catch_all
      matches  = [for path in route.paths : { path = path, parameter = "action", value = "*" }]
    } if length(route.actions) == 0 && route.flag == null
  ]

  with_flag = [
    for route in local.routed : {
      function = route.name
      matches  = [for path in route.paths : { path = path, parameter = route.flag, value = "*" }]
    } if route.flag != null
  ]

  without_action = [
    for route in local.routed : {
      function = route.name
      matches  = [for path in route.paths : { path = path, parameter = null, value = null }]
    } if length(route.actions) == 0 && route.flag == null
  ]

  url_rules = [
    for at, rule in concat(local.own_actions, local.other_actions, local.with_flag, local.without_action) : {
      priority = (at + 1) * 10
      function = rule.function
      matches = [
        for match in rule.matches : {
          # `{id}` is one segment, `*` for the load balancer. A name would be useful for rewrites only.
          path      = replace(match.path, "/[{][a-z]+[}]/", "*")
          template  = strcontains(match.path, "{")
          parameter = match.parameter
          value     = match.value
        }
      ]
    }
  ]
}
