"""Keys and JSON Web Tokens by openssl and Python's library, which know nothing of ours.

sign.py key RS384|ES384 FILE      makes a secret key, and prints its public half as a JWK
sign.py sign RS384|ES384 FILE     signs what comes on standard input, {"header": …, "claims": …}, and prints the token
"""
import base64
import json
import subprocess
import sys


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def numbers(der):
    """The two numbers of an ECDSA signature as DER has it: SEQUENCE { INTEGER, INTEGER }, all shorter than 128 bytes."""
    first = der[4:4 + der[3]]
    second = der[6 + der[3]:6 + der[3] + der[5 + der[3]]]
    return [int.from_bytes(number, "big") for number in (first, second)]


what, algorithm, file = sys.argv[1:]
if what == "key":
    kind = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "RS384" else ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]
    openssl("genpkey", "-algorithm", *kind, "-out", file)
    if algorithm == "RS384":
        modulus = openssl("rsa", "-in", file, "-noout", "-modulus").decode().strip().split("=")[1]
        key = {"kty": "RSA", "n": text(bytes.fromhex(modulus)), "e": "AQAB"}
    else:
        # The public key ends with its point: 4, x, y.
        point = openssl("pkey", "-in", file, "-pubout", "-outform", "DER")[-97:]
        assert point[0] == 4
        key = {"kty": "EC", "crv": "P-384", "x": text(point[1:49]), "y": text(point[49:])}
    print(json.dumps({**key, "use": "sig", "alg": algorithm}))
else:
    token = json.load(sys.stdin)
    signed = ".".join(text(json.dumps(token[part]).encode()) for part in ("header", "claims"))
    signature = openssl("dgst", "-sha384", "-sign", file, given=signed.encode())
    if algorithm == "ES384":
        # An odd length of the sequence needs no long form: 2 × 51 bytes at most.
        signature = b"".join(number.to_bytes(48, "big") for number in numbers(signature))
    print(f"{signed}.{text(signature)}")
