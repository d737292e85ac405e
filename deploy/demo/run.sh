#!/bin/bash
# How does `make run` start everything? mosquitto and both planes on loopback, a demo device, and a
# few lines that say what to try. Everything it writes is in ./run; Ctrl-C stops all of it.
#
#   deploy/demo/run.sh BIN_DIR VENV
#
# Other ports: TIDEGATE_COAP_PORT, TIDEGATE_HTTP_PORT, TIDEGATE_MQTT_PORT.
set -euo pipefail

bin=$1 venv=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
run=$root/run
coap_port=${TIDEGATE_COAP_PORT:-5684}
http_port=${TIDEGATE_HTTP_PORT:-8080}
mqtt_port=${TIDEGATE_MQTT_PORT:-1884} # Debian's own mosquitto service has 1883
identity=demo-device-0001-on-this-machine
secret=demo-secret-for-loopback-only-00
export PATH=$PATH:/usr/sbin # where Debian has mosquitto

declare -A pids=()

stop() {
    trap - EXIT
    # The control plane first: it settles what is under way while the others still answer.
    for name in controlplane dataplane mosquitto; do
        [ -n "${pids[$name]:-}" ] || continue
        kill -TERM "${pids[$name]}" 2>/dev/null || true
        wait "${pids[$name]}" 2>/dev/null || true
    done
    echo 'stopped'
}

fail() {
    echo "$*" >&2
    exit 1
}

# start NAME COMMAND…: in the background, its output in run/NAME.log
start() {
    local name=$1
    shift
    "$@" >"$run/$name.log" 2>&1 &
    pids[$name]=$!
}

# Fails when a process has ended, with its last words.
check_alive() {
    local name
    for name in "${!pids[@]}"; do
        kill -0 "${pids[$name]}" 2>/dev/null && continue
        tail -n 20 "$run/$name.log" >&2
        fail "$name has ended; its log is $run/$name.log"
    done
}

check_free() {
    if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then
        fail "port $2 is in use: set $1 to another one"
    fi
}

write_configs() {
    mkdir -p "$run/rings" "$run/data"
    chmod 700 "$run/rings" "$run/data"
    sed "s/^listener 1883 /listener $mqtt_port /" "$root/deploy/mosquitto.conf" >"$run/mosquitto.conf"
    local listen="\"127.0.0.1:$coap_port\""
    if grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null; then listen+=", \"[::1]:$coap_port\""; fi
    cat >"$run/dataplane.toml" <<END
# Every knob: deploy/dataplane.toml
listen = [$listen]
run_dir = "$run/rings"
END
    cat >"$run/controlplane.toml" <<END
# Every knob: deploy/controlplane.toml
run_dir = "$run/rings"
data_dir = "$run/data"
[http]
listen = "127.0.0.1:$http_port"
[mqtt]
url = "mqtt://127.0.0.1:$mqtt_port"
END
    cat >"$run/aws.env" <<END
# \`. run/aws.env\`: the aws command line speaks to this edge, with its root key.
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE
export AWS_ENDPOINT_URL_IOT_WIRELESS=http://127.0.0.1:$http_port
export AWS_ENDPOINT_URL_IOT=http://127.0.0.1:$http_port
export AWS_SHARED_CREDENTIALS_FILE=$run/data/root-credentials
export AWS_DATA_PATH=$root/deploy/aws/models AWS_DEFAULT_REGION=us-east-1 AWS_REGION=us-east-1
export PATH=$venv/bin:\$PATH
END
}

wait_until_ready() {
    local tries
    for tries in $(seq 300); do
        check_alive
        if curl -s "http://127.0.0.1:$http_port/health" | grep -q '"Status":"ok"'; then return; fi
        sleep 0.1
    done
    fail "not ready after 30 s; the logs are in $run"
}

# Creates the demo destination and device, once; prints the device's id.
provision() {
    local id
    id=$(aws iotwireless list-wireless-devices --destination-name demo --output text \
        --query 'WirelessDeviceList[0].Id' 2>/dev/null || true)
    if [ -z "$id" ] || [ "$id" = None ]; then
        aws iotwireless create-destination --name demo --expression-type MqttTopic \
            --expression demo/uplinks --role-arn arn:aws:iam::000000000000:role/demo >/dev/null
        id=$(aws iotwireless create-wireless-device --type CoAP --name demo --destination-name demo \
            --cellular "DtlsV1_2={PreSharedKeyIdentity=$identity,PreSharedKeySecret=$secret}" \
            --output text --query Id)
    fi
    echo "$id"
}

tell() {
    local device=$1
    cat <<END

Tidegate runs. Ctrl-C stops it.
  devices   coaps://127.0.0.1:$coap_port   (DTLS 1.2, pre-shared key)
  API       http://127.0.0.1:$http_port    (signed; /health is open)
  broker    mqtt://127.0.0.1:$mqtt_port    logs and data: $run

Try, each in a terminal of its own:
  # see uplinks
  mosquitto_sub -p $mqtt_port -t demo/uplinks -v
  # be the device: an uplink, answered 2.04 when the broker has it
  coap-client-openssl -v 6 -u $identity -k $secret \\
      -m put -t text/plain -e 21.5 coaps://127.0.0.1:$coap_port/temperature
  # be the application: a message that waits for the device, and the queue
  . $run/aws.env
  aws iotwireless send-data-to-wireless-device --id $device --transmit-mode 1 \\
      --payload-data "\$(printf on | base64)" \\
      --co-ap '{"RequestMethod":"PUT","UriPaths":["led"],"QueueMode":1}'
  aws iotwireless list-queued-messages --id $device
END
}

check_free TIDEGATE_HTTP_PORT "$http_port"
check_free TIDEGATE_MQTT_PORT "$mqtt_port"
trap stop EXIT
trap 'exit 0' INT TERM
write_configs
start mosquitto mosquitto -c "$run/mosquitto.conf"
start dataplane "$bin/tidegate-dataplane" --supervise --config "$run/dataplane.toml"
start controlplane "$bin/tidegate-controlplane" serve --config "$run/controlplane.toml"
wait_until_ready
# shellcheck source=/dev/null
. "$run/aws.env"
tell "$(provision)"
# Until Ctrl-C, or until one of them ends by itself.
wait -n "${pids[@]}" || true
check_alive
