# SPDX-License-Identifier: MIT
"""A certificate authority of the tests' own, and certificates good and bad, by openssl's command."""

import pathlib
import ssl

from lib.process import run


def self_signed(where, name, serial="1", address="127.0.0.1"):
    """(chain, key) of a certificate for an address and localhost that is its own authority."""
    key, chain = where / f"{name}.key", where / f"{name}.crt"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", chain, "-days", "2", "-subj", f"/CN={name}", "-set_serial", serial, "-addext",
         f"subjectAltName=DNS:localhost,IP:{address}"])
    return chain, key


class Authority:
    """.bundle: the file to trust.  context(): what a server needs."""

    def __init__(self, where):
        self.where = pathlib.Path(where)
        self.bundle = self._certificate("authority", "/CN=p2pfs test authority", "basicConstraints=critical,CA:TRUE\n"
                                        "keyUsage=critical,keyCertSign,cRLSign\n")

    def _certificate(self, name, subject, extensions, *dates, signed=False):
        key, request, cert, config = (self.where / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
        config.write_text(extensions)
        run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", key, "-out", request, "-subj", subject])
        if signed:
            (self.where / f"{name}.index").write_text("")
            ca = self.where / f"{name}.cnf"
            ca.write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.where}/{name}.index\nnew_certs_dir={self.where}\n"
                          f"rand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")
            run(["openssl", "ca", "-batch", "-config", ca, "-cert", self.bundle, "-keyfile", self.where / "authority.key",
                 "-in", request, "-out", cert, "-extfile", config, "-notext", *(dates or ("-days", "30"))])
        else:
            run(["openssl", "x509", "-req", "-in", request, "-signkey", key, "-out", cert, "-days", "30",
                 "-extfile", config])
        return cert

    def context(self, name, *, host="localhost", expired=False, signed=True, newest=None):
        dates = ("-startdate", "20200101000000Z", "-enddate", "20200201000000Z") if expired else ()
        cert = self._certificate(name, f"/CN={host}", f"subjectAltName=DNS:{host}\n", *dates, signed=signed)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, self.where / f"{name}.key")
        if newest:
            context.set_ciphers("ALL:@SECLEVEL=0")  # else openssl itself has nothing left to offer
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
        return context
