"""Real Apache httpd: the web nodes, and the WAF nodes with ModSecurity and the OWASP CRS."""
import os
import re
import socket
import subprocess
from pathlib import Path

from .process import Process, wait_for

APACHE = "/usr/sbin/apache2"
MODULES = "/usr/lib/apache2/modules"
MODSECURITY = Path("/etc/modsecurity")
CRS = "/usr/share/modsecurity-crs/*.load"

# A server keeps an idle connection longer than the balancer before it, so that it is the balancer that closes; and the
# WAF, as a client, lets go of its own before the balancer behind it would (its idle_timeout is 60 s).
SERVER_KEEPALIVE_S = 120
WAF_POOLED_S = 45

COMMON = """\
ServerRoot "{folder}"
DefaultRuntimeDir "{folder}"
PidFile "{folder}/httpd.pid"
Mutex "file:{folder}" default
ServerName {name}
{user}
Listen {address}:{port}
Timeout 60
KeepAlive On
KeepAliveTimeout {keepalive}
MaxKeepAliveRequests 0
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
MinSpareThreads 1
MaxSpareThreads 64
ErrorLog "{folder}/error.log"
LogFormat "%a %{{X-Forwarded-For}}i %s %D \\"%r\\" \\"%{{User-Agent}}i\\"" lab
CustomLog "{folder}/access.log" lab
"""

WEB = """\
DocumentRoot "{folder}/www"
TypesConfig /dev/null
AddType text/html .html
DirectoryIndex index.html
<Directory "{folder}/www">
    Require all granted
</Directory>
"""

WAF = """\
ProxyRequests Off
ProxyPreserveHost On
ProxySourceAddress {address}
<Proxy "balancer://{inner}">
{members}
</Proxy>
<VirtualHost {address}:{port}>
    ServerName {name}
    ProxyPass "/" "balancer://{inner}/"
    Header always set X-WAF "{name}"
</VirtualHost>
# The balancer behind may have closed a pooled connection in the very moment that a request takes it. Only a front
# connection that has carried a request before may take one: there Apache answers such a race by closing, and whoever
# asked (ha-lbext) asks again on a new connection.
SetEnv proxy-initial-not-pooled 1

SecDataDir "{folder}/modsecurity"
Include "{folder}/modsecurity.conf"
# CRS 920350 holds a numeric Host against a request. Here it is the only way to name ha-lbext, and ha-lbext's health
# check names the WAF itself so, as ELB's does. Every other numeric Host still counts.
SecRule REQUEST_HEADERS:Host "@rx ^(?:{hosts})$" "id:1000,phase:1,pass,nolog,ctl:ruleRemoveById=920350"
Include "{crs}"

SSLSessionCache none
Listen {address}:{status_port}
<VirtualHost {address}:{status_port}>
    ServerName {name}
    SSLEngine on
    SSLCertificateFile "{folder}/status.crt"
    SSLCertificateKeyFile "{folder}/status.key"
    SecRuleEngine Off
    <Location "/">
        SetHandler server-status
        Require all granted
    </Location>
</VirtualHost>
"""

# Own zone first: the other zone's member is in a later set, taken when the first has failed. A failed member is asked
# again after one second instead of a minute. (Not after zero: the same request would then be sent to the same failed member
# twice instead of to the next one.) If both have failed, both are asked at once (forcerecovery).
MEMBER = ('    BalancerMember "http://{address}:{port}" lbset={rank} retry=1 connectiontimeout=1 timeout=60 '
          "ttl={ttl} keepalive=On")


class Apache(Process):
    def __init__(self, host, folder, network, modules, config):
        self.host, self.folder, self.network = host, folder, network
        folder.mkdir()
        self._write(modules, config)
        super().__init__(host.name, [*network.command(host.name), APACHE, "-f", str(folder / "httpd.conf"), "-DFOREGROUND"],
                         folder / "error.log")

    def _write(self, modules, config):
        load = "".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so\n" for m in modules if m != "security2")
        if "security2" in modules:
            load += f"LoadModule security2_module {MODULES}/mod_security2.so\n"
        user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
        common = COMMON.format(folder=self.folder, name=self.host.name, user=user, address=self.host.address,
                               port=self.host.port, keepalive=SERVER_KEEPALIVE_S)
        (self.folder / "httpd.conf").write_text(load + common + config)

    def start(self):
        super().start()
        wait_for(f"{self.name} to listen", self._listens)

    def _listens(self):
        self.expect_running()
        with self.network.inside(self.name):
            try:
                socket.create_connection((self.host.address, self.host.port), 1).close()
                return True
            except OSError:
                return False


def web_node(host, folder, network):
    node = Apache(host, folder, network, ["mpm_event", "authz_core", "dir", "mime"], WEB.format(folder=folder))
    www = folder / "www"
    www.mkdir()
    (www / "index.html").write_text(f"<html><body>{host.name}</body></html>")
    return node


def waf_node(host, folder, network, plan):
    config = WAF.format(folder=folder, name=host.name, address=host.address, port=host.port, status_port=plan.status_port,
                        inner=plan.inner.name, members=_members(host, plan), crs=CRS,
                        hosts="|".join(re.escape(h.authority) for h in (host, *plan.outer.nodes)))
    node = Apache(host, folder, network, WAF_MODULES, config)
    (folder / "modsecurity.conf").write_text(_modsecurity(folder))
    (folder / "modsecurity").mkdir(mode=0o1777)
    (folder / "modsecurity").chmod(0o1777)
    _certificate(host, folder)
    return node


WAF_MODULES = ["mpm_event", "authz_core", "env", "headers", "unique_id", "status", "ssl", "slotmem_shm", "lbmethod_byrequests",
               "proxy", "proxy_http", "proxy_balancer", "security2"]


def _members(host, plan):
    own_first = sorted(plan.inner.nodes, key=lambda node: node.zone != host.zone)
    return "\n".join(MEMBER.format(address=node.address, port=node.port, rank=rank, ttl=WAF_POOLED_S)
                     for rank, node in enumerate(own_first))


def _modsecurity(folder):
    """Debian's recommended configuration, switched on, with its files in our folder."""
    text = (MODSECURITY / "modsecurity.conf-recommended").read_text()
    for setting, value in {"SecRuleEngine": "On", "SecAuditLog": f"{folder}/modsec_audit.log", "SecTmpDir": f"{folder}/modsecurity",
                           "SecDataDir": f"{folder}/modsecurity", "SecUnicodeMapFile": f"{MODSECURITY}/unicode.mapping 20127"}.items():
        text = re.sub(rf"^{setting} .*$", f"{setting} {value}", text, flags=re.MULTILINE)
    return text


def _certificate(host, folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", f"/CN={host.name}", "-addext", f"subjectAltName=IP:{host.address}",
                    "-addext", "basicConstraints=critical,CA:FALSE",
                    "-keyout", str(folder / "status.key"), "-out", str(folder / "status.crt")],
                   check=True, capture_output=True)
