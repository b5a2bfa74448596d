#!/bin/sh
# Stands in the runtime's place (gate.rs). At the moment that the test has named it says so, and waits until the test
# lets it go on. As `gate COMMAND` it is a hook of the container: the runtime's own middle.
gate=/run/gate
at() {
    mv "$gate/$command.$1" "$gate/reached" 2>/dev/null || return 0
    while [ -e "$gate/reached" ]; do sleep 0.01; done
}
if [ "${0##*/}" = gate ]; then
    command=$1
    cat >/dev/null
    at during
    exit 0
fi

previous= bundle= command=
for word; do
    [ "$previous" != --bundle ] || bundle=$word
    previous=$word
    case $command$word in create | exec | delete) command=$word ;; esac
done
if [ "$command" = create ]; then
    hook='[{"path": "/usr/local/sbin/gate", "args": ["gate", "COMMAND"]}]'
    hooks=$(echo "\"createRuntime\": $hook, \"poststop\": $hook" | sed 's/COMMAND/create/; s/COMMAND/delete/')
    # Whether it has other hooks, an empty list of them, or none.
    sed -i "s|\"hooks\":{\"|\"hooks\":{$hooks,\"|; t; s|\"hooks\":{}|\"hooks\":{$hooks}|; t; 1s|^{|{\"hooks\":{$hooks},|" \
        "$bundle/config.json"
fi
for moment in before during after; do
    [ ! -e "$gate/$command.$moment" ] || echo $$ >"$gate/pid"
done
at before
# By exec as a rule, so that whoever kills the runtime kills the runtime.
[ -e "$gate/$command.after" ] || exec /usr/local/sbin/held/orlop "$@"
/usr/local/sbin/held/orlop "$@"
code=$?
at after
exit $code
