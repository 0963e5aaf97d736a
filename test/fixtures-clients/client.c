/* C's xmlrpc-c: client USER PASSWORD URL prints one line for each check, "ok NAME" or what is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xmlrpc-c/base.h>
#include <xmlrpc-c/client.h>

static xmlrpc_env env;
static xmlrpc_client *client;
static xmlrpc_server_info *server;

static void check(const char *name, int same) {
    printf(same ? "ok %s\n" : "wrong %s\n", name);
}

static void stop_on_fault(const char *what) {
    if (!env.fault_occurred) return;
    printf("wrong %s: %s (%d)\n", what, env.fault_string, env.fault_code);
    exit(0);
}

static xmlrpc_value *call(const char *method, xmlrpc_value *args) {
    xmlrpc_value *result = NULL;
    xmlrpc_client_call2(&env, client, server, method, args, &result);
    stop_on_fault(method);
    return result;
}

/* The value of a call that returns its argument; each check reads it as its type. */
static xmlrpc_value *echo(xmlrpc_value *value) {
    xmlrpc_value *args = xmlrpc_build_value(&env, "(V)", value);
    return call("trial.echo", args);
}

int main(int argc, char **argv) {
    xmlrpc_int32 integer;
    long long large;
    double number;
    xmlrpc_bool boolean;
    const char *text;
    const unsigned char *bytes;
    size_t length, at;
    unsigned char all[256];
    xmlrpc_value *nothing = NULL;
    if (argc != 4) return 2;
    for (at = 0; at < sizeof all; at++) all[at] = (unsigned char)at;
    xmlrpc_env_init(&env);
    xmlrpc_client_setup_global_const(&env);
    xmlrpc_client_create(&env, XMLRPC_CLIENT_NO_FLAGS, "test", "1", NULL, 0, &client);
    server = xmlrpc_server_info_new(&env, argv[3]);
    xmlrpc_server_info_set_user(&env, server, argv[1], argv[2]);
    xmlrpc_server_info_allow_auth_basic(&env, server);
    stop_on_fault("init");

    xmlrpc_read_int(&env, echo(xmlrpc_int_new(&env, -12)), &integer);
    stop_on_fault("int");
    check("int", integer == -12);

    xmlrpc_read_i8(&env, echo(xmlrpc_i8_new(&env, 9223372036854775807LL)), &large);
    stop_on_fault("i8");
    check("i8", large == 9223372036854775807LL);

    xmlrpc_read_double(&env, echo(xmlrpc_double_new(&env, -12.25)), &number);
    stop_on_fault("double");
    check("double", number == -12.25);

    xmlrpc_read_double(&env, call("trial.double", xmlrpc_array_new(&env)), &number);
    stop_on_fault("double of a signature");
    check("double of a signature", number == 3.0);

    xmlrpc_read_bool(&env, echo(xmlrpc_bool_new(&env, 1)), &boolean);
    stop_on_fault("boolean");
    check("boolean", boolean == 1);

    xmlrpc_read_string(&env, echo(xmlrpc_string_new(&env, "  \xc3\xbc <&> \n\t'\"]]> ")), &text);
    stop_on_fault("string");
    check("string", strcmp(text, "  \xc3\xbc <&> \n\t'\"]]> ") == 0);

    /* The library reads no characters beyond the Basic Multilingual Plane, and gives every line end as LF. */
    xmlrpc_read_string(&env, call("trial.basic", xmlrpc_array_new(&env)), &text);
    stop_on_fault("characters");
    check("characters", strcmp(text, " \xc3\xbc\xe4\xb8\xad\n") == 0);

    xmlrpc_read_base64(&env, echo(xmlrpc_base64_new(&env, sizeof all, all)), &length, &bytes);
    stop_on_fault("bytes");
    check("bytes", length == sizeof all && memcmp(bytes, all, length) == 0);

    xmlrpc_read_datetime_str(&env, echo(xmlrpc_datetime_new_str(&env, "19980717T14:08:55")), &text);
    stop_on_fault("time");
    check("time", strcmp(text, "19980717T14:08:55") == 0);

    check("nil", xmlrpc_value_type(echo(xmlrpc_nil_new(&env))) == XMLRPC_TYPE_NIL);

    {
        xmlrpc_value *value = echo(xmlrpc_build_value(&env, "{s:(iis),s:i}", "__proto__", 1, 2, "x", "", 3));
        xmlrpc_decompose_value(&env, value, "{s:(iis),s:i,*}", "__proto__", &integer, &integer, &text, "", &integer);
        stop_on_fault("struct");
        check("struct", integer == 3 && strcmp(text, "x") == 0);
    }

    {
        xmlrpc_value *help = call("system.methodHelp", xmlrpc_build_value(&env, "(s)", "trial.fail"));
        xmlrpc_read_string(&env, help, &text);
        stop_on_fault("introspection");
        check("introspection", strcmp(text, "Fails.") == 0);
    }

    xmlrpc_client_call2(&env, client, server, "trial.fail", xmlrpc_array_new(&env), &nothing);
    /* The library puts words of its own before the text. */
    check("fault", env.fault_occurred && env.fault_code == 42 && strstr(env.fault_string, "No, \"because\" <of> & ") &&
                       strstr(env.fault_string, "\n\xc3\xbc."));
    xmlrpc_env_clean(&env);
    xmlrpc_env_init(&env);
    xmlrpc_client_call2(&env, client, server, "no.method", xmlrpc_array_new(&env), &nothing);
    check("unknown method", env.fault_occurred && env.fault_code == -32601);
    return 0;
}
