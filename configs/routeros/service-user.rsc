# What "iwas-agent router script --agent-address 192.168.88.10" prints, for reading beforehand.
# The real one has secrets of its own in it: print that, and paste it into a terminal of
# the router. Kept as it is by a test.

# IWAS: lets the box at 192.168.88.10 manage this router, and asks it about guests.
:do { /user/group/add name=iwas policy=read,write,api,rest-api,sensitive,test } on-error={}
:do { /user/add name=iwas group=iwas password="THE-SERVICE-USERS-PASSWORD" address=192.168.88.10/32 comment="IWAS box" } on-error={ /user/set iwas group=iwas password="THE-SERVICE-USERS-PASSWORD" address=192.168.88.10/32 }
:do { /certificate/add name=iwas common-name=iwas days-valid=3650 key-usage=key-cert-sign,crl-sign,tls-server } on-error={}
:do { /certificate/sign iwas } on-error={}
:delay 5s
/ip/service/set api-ssl certificate=iwas address=192.168.88.10/32 disabled=no
/ip/service/set www-ssl certificate=iwas address=192.168.88.10/32 disabled=no
:do { /ip/service/set api-ssl available-from=192.168.88.10/32 } on-error={}
:do { /ip/service/set www-ssl available-from=192.168.88.10/32 } on-error={}
:do { /radius/add service=hotspot address=192.168.88.10 secret="THE-RADIUS-SECRET" timeout=2s require-message-auth=yes-for-request-resp comment="iwas:radius" } on-error={}
/radius/incoming/set accept=yes port=3799
:put "The fingerprint of this router's certificate:"
:put [/certificate/get iwas fingerprint]
