"""Keys of Kestra that mean nothing here, or must not be passed over: each with a sentence that says why."""

from __future__ import annotations

#: Key or beginning of keys -> what a person who brings it along should know. Told as a warning.
NO_EFFECT: dict[str, str] = {
    "flowtide.server.basic-auth.enabled": "basic authentication is always on",
    "flowtide.jdbc": "there is no JDBC backend; the embedded engine has nothing to tune",
    "flowtide.queue.postgres": "there is no JDBC backend",
    "flowtide.heartbeat": "use server.liveness.heartbeat-interval and server.liveness.timeout",
    "flowtide.kafka.stream": "executors are no Kafka Streams applications; they keep no state directory",
    "flowtide.kafka.defaults.stream": "use kafka.defaults.producer.properties and .consumer.properties",
    "flowtide.kafka.client.loggers": "set the level of the logger flowtide.log instead",
    "flowtide.anonymous-usage-report": "no usage is reported to anybody",
    "flowtide.ui-anonymous-usage-report": "no usage is reported to anybody",
    "flowtide.ee.license": "no licence is needed",
    "flowtide.ee.tenants": "tenants are always there",
    "micronaut.security.csrf": "changes by cookie are always checked for the page that sends them",
    "flowtide.templates": "of these keys, only templates.enabled is known",
    "flowtide.listeners": "of these keys, only listeners.enabled is known",
    "flowtide.plugins.repositories": "plugins are Python packages; install them with pip",
    "datasources": "there is no JDBC backend; data goes to data-path, or to Kafka and Elasticsearch",
    "flyway": "there is no JDBC backend",
    "micronaut": "Flowtide reads only the keys under micronaut that docs/reference/settings.md lists",
    "jackson": "there is no Jackson here",
}

#: Key or beginning of keys that are checked and kept for what is to come -> what this version does. A warning.
PLANNED: dict[str, str] = {
    "flowtide.retries": "reads of files and secrets are tried once",
    "flowtide.variables.cache-enabled": "compiled templates are always kept",
    "flowtide.variables.cache-size": "the number of compiled templates that are kept is fixed",
    "flowtide.local-files.enable-preview": "there is no interface in the browser",
    "flowtide.webserver": "there is no interface in the browser",
    "flowtide.tasks.sdk": "there are no tasks that call the API",
    "flowtide.secret.cache": "every server has the secrets in memory at once",
    "flowtide.secret.embedded.tags": "tags are given with each secret",
    "flowtide.secret.elasticsearch.tags": "tags are given with each secret",
    "flowtide.secret.jdbc.tags": "tags are given with each secret",
    "flowtide.timezone": "schedules without a time zone are in UTC",
}

#: Keys whose wish Flowtide cannot fulfil and whose silence would be dangerous: refused when they are true.
REFUSED: dict[str, str] = {
    "micronaut.ssl.enabled": "Flowtide does not end TLS itself; put a proxy in front of it",
    "micronaut.server.ssl.enabled": "Flowtide does not end TLS itself; put a proxy in front of it",
    "micronaut.security.x509.enabled": "client certificates are the business of the proxy in front",
}

#: Types of queue and repository that are other products' names for something that we have.
TYPE_ALIASES: dict[str, str] = {"memory": "embedded", "h2": "embedded"}

#: Types that we do not have, with what to take.
TYPES_REFUSED: dict[str, str] = {
    "postgres": "`embedded` on one machine, or Kafka and Elasticsearch",
    "mysql": "`embedded` on one machine, or Kafka and Elasticsearch",
}

#: Options of Java that people bring along in JAVA_OPTS and that have another name here (CFG-15).
JAVA_OPTIONS: dict[str, str] = {
    "http.proxyHost": "set HTTP_PROXY",
    "https.proxyHost": "set HTTPS_PROXY",
    "http.nonProxyHosts": "set NO_PROXY",
    "javax.net.ssl.trustStore": "set SSL_CERT_FILE",
    "logback.configurationFile": "set logger.format and logger.levels",
}
