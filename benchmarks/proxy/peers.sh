# The proxies of benchmarks/proxy: for each, have_NAME (in a shell of its own) installs what is missing, or says why it cannot, and
# run_NAME PORT UPSTREAM starts it as NAME, with one thread or as many as its one core carries. version_NAME is what the table says of it.

have_nginx() { need nginx=nginx-light; }
version_nginx() { nginx -v 2>&1 | sed 's|.*nginx/||'; }
run_nginx() {
	nginx_conf nginx <<-CONF
		upstream worker { server 127.0.0.1:$2; keepalive 1024; keepalive_requests 1000000000; }
		server { listen 127.0.0.1:$1; location / { proxy_pass http://worker; proxy_http_version 1.1; proxy_set_header Connection ''; } }
	CONF
	start nginx "${on_proxy[@]}" nginx -c "$dir/nginx/nginx.conf"
}

have_haproxy() { need haproxy=haproxy; }
version_haproxy() { haproxy -v | sed -n '1s/.*version \([0-9.]*\).*/\1/p'; }
run_haproxy() {
	cat >"$dir/haproxy.cfg" <<-CONF
		global
		    nbthread 1
		    maxconn 8192
		defaults
		    mode http
		    timeout connect 5s
		    timeout client 600s
		    timeout server 600s
		    http-reuse always
		frontend clients
		    bind 127.0.0.1:$1
		    default_backend workers
		backend workers
		    server fixed 127.0.0.1:$2
	CONF
	start haproxy "${on_proxy[@]}" haproxy -db -f "$dir/haproxy.cfg"
}

run_router() { motley router "$@" 1 512; }
run_merge() { motley merge "$@" "$merge" "$in_flight"; }
motley() { # NAME PORT UPSTREAM MAX-BATCH CONCURRENCY
	cat >"$dir/$1.yaml" <<-YAML
		listen: "127.0.0.1:$2"
		log: {level: warn}
		models:
		  - name: proxied
		    qos: {target: 10s}
		    max_batch: $4
		instance_types:
		  - name: upstream
		workers:
		  - name: fixed
		    type: upstream
		    concurrency: $5
		    remote: {url: "http://127.0.0.1:$3", connections: $5, probe_interval: 60s}
	YAML
	start "$1" env GOMAXPROCS=1 "${on_proxy[@]}" "$router_binary" -config "$dir/$1.yaml" -admin off
}

cache=${MOTLEY_BENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/motley-bench}

have_caddy() { # built in a module of its own, outside of this one
	local build
	[[ ! -x $cache/caddy ]] || return 0
	mkdir -p "$cache" && build=$(mktemp -d "$dir/caddy.XXXX") && cd "$build" && go mod init caddy &&
		go get github.com/caddyserver/caddy/v2@v2.11.9 && go build -mod=mod -o "$cache/caddy" github.com/caddyserver/caddy/v2/cmd/caddy
}
version_caddy() { go version -m "$cache/caddy" | awk '$2 == "github.com/caddyserver/caddy/v2" {print substr($3, 2)}'; }
run_caddy() {
	cat >"$dir/Caddyfile" <<-CONF
		{
		    admin off
		    auto_https off
		    persist_config off
		    log default {
		        level ERROR
		    }
		}
		http://127.0.0.1:$1 {
		    reverse_proxy 127.0.0.1:$2 {
		        transport http {
		            compression off
		            keepalive_idle_conns_per_host 1024
		        }
		    }
		}
	CONF
	start caddy env GOMAXPROCS=1 "${on_proxy[@]}" "$cache/caddy" run --adapter caddyfile --config "$dir/Caddyfile"
}

# Inference routers from PyPI, each in an environment of its own.
openai_only() { [[ $1 == vllm_router || $1 == sglang_router || $1 == litellm ]]; }
ready_path() { # NAME: what answers with 200 once it is up
	case $1 in
	litellm) echo /health/liveliness ;;
	*_router) echo /v1/models ;;
	*) echo /v2/health/live ;;
	esac
}
from_pypi() { # NAME PACKAGE==VERSION
	[[ ! -e $cache/$1/ready ]] || return 0
	python3 -m venv "$cache/$1" && "$cache/$1/bin/pip" install -q --only-binary :all: "$2" && touch "$cache/$1/ready"
}
have_vllm_router() { from_pypi vllm_router vllm-router==0.1.17; }
have_sglang_router() { from_pypi sglang_router sglang-router==0.3.2; }
have_litellm() { from_pypi litellm "litellm[proxy]==1.106.0"; }
version_vllm_router() { "$cache/vllm_router/bin/pip" list 2>/dev/null | awk '$1 == "vllm-router" {print $2}'; }
version_sglang_router() { "$cache/sglang_router/bin/pip" list 2>/dev/null | awk '$1 == "sglang-router" {print $2}'; }
version_litellm() { "$cache/litellm/bin/pip" list 2>/dev/null | awk '$1 == "litellm" {print $2}'; }
run_vllm_router() { rust_router vllm_router vllm_router.launch_router warning "$@"; }
run_sglang_router() { rust_router sglang_router sglang_router.launch_router warn "$@"; }
rust_router() { # NAME MODULE LOG-LEVEL PORT UPSTREAM
	local prometheus
	free_port prometheus
	start "$1" "${on_proxy[@]}" "$cache/$1/bin/python" -m "$2" --host 127.0.0.1 --port "$4" --worker-urls "http://127.0.0.1:$5" \
		--policy round_robin --log-level "$3" --prometheus-port "$prometheus" --max-concurrent-requests 8192 --queue-size 8192
}
run_litellm() {
	cat >"$dir/litellm.yaml" <<-YAML
		model_list:
		  - model_name: proxied
		    litellm_params: {model: text-completion-openai/proxied, api_base: "http://127.0.0.1:$2/v1", api_key: none}
		litellm_settings: {telemetry: false}
	YAML
	start litellm env LITELLM_LOCAL_MODEL_COST_MAP=True LITELLM_MODE=PRODUCTION LITELLM_LOG=ERROR LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true \
		"${on_proxy[@]}" "$cache/litellm/bin/litellm" --config "$dir/litellm.yaml" --host 127.0.0.1 --port "$1" --num_workers 1 --telemetry False
}
