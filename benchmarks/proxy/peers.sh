# The proxies of benchmarks/proxy: for each, have_NAME installs what is missing, or says why it cannot, and run_NAME PORT UPSTREAM
# starts it as NAME, with one thread or as many as its one core carries. version_NAME is what the table says of it.

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
	start "$1" env GOMAXPROCS=1 "${on_proxy[@]}" "$router_binary" -config "$dir/$1.yaml"
}
