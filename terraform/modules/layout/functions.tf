locals {
  names = [for route in var.routes : route.name]

  functions = {
    for route in var.routes : route.name => {
      deployed_name = "${var.name_prefix}-${route.name}"
      entry_point   = route.entryPoint
      summary       = route.summary
      access        = route.access
      memory        = coalesce(try(var.instances[route.name].memory, null), var.function_settings.memory)
      cpu           = coalesce(try(var.instances[route.name].cpu, null), var.function_settings.cpu)
      concurrency   = coalesce(try(var.instances[route.name].concurrency, null), var.function_settings.concurrency)
      min_instances = coalesce(try(var.instances[route.name].min_instances, null), var.function_settings.min_instances)
      max_instances = coalesce(try(var.instances[route.name].max_instances, null), var.function_settings.max_instances)
      timeout       = var.function_settings.timeout
    }
  }

  min_instances = sum([for function in local.functions : function.min_instances])
}
