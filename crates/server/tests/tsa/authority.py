"""A timestamp authority: OpenSSL's own, behind HTTP. Its folder is the argument; prints its port."""

import http.server
import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(sys.argv[1])
CONFIG = """
[tsa]
default_tsa = it
[it]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
certs = ca.pem
signer_key = tsa.key
signer_digest = sha384
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = yes
"""


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], cwd=FOLDER, check=True, capture_output=True)


def create(name, key):
    """A root, and a certificate for timestamps that it has issued."""
    root = ["-subj", f"/CN={name} root", "-days", "3650", "-addext", "keyUsage=critical,keyCertSign"]
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", *root)
    openssl("req", *key, "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", f"/CN={name}")
    (FOLDER / "extensions").write_text("keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n")
    issuer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3650", "-extfile", "extensions"]
    openssl("x509", "-req", "-in", "tsa.csr", "-out", "tsa.pem", *issuer)
    (FOLDER / "serial").write_text("01\n")
    (FOLDER / "config").write_text(CONFIG)


class Authority(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        (FOLDER / "query").write_bytes(self.rfile.read(int(self.headers["content-length"])))
        openssl("ts", "-reply", "-config", "config", "-queryfile", "query", "-out", "reply")
        reply = (FOLDER / "reply").read_bytes()
        self.send_response(200)
        self.send_header("content-type", "application/timestamp-reply")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


FOLDER.mkdir(exist_ok=True)
create("Test authority", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"] if "ec" in sys.argv else ["-newkey", "rsa:2048"])
server = http.server.HTTPServer(("127.0.0.1", 0), Authority)
print(server.server_port, flush=True)
server.serve_forever()
