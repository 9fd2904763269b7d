// An OpenID Connect server whose clients get JWTs by their own credentials: `node server.mjs`.
//
// Prints its issuer when it serves. Clients and their secrets are in the variable OIDC_CLIENTS:
// a list of {"id", "secret", "tenant", "scope", "algorithm"}. OIDC_PORT is the port; 0 is any.

import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'

import Provider from 'oidc-provider'

const known = JSON.parse(process.env.OIDC_CLIENTS)
const byId = Object.fromEntries(known.map((one) => [one.id, one]))
const scopes = [...new Set(known.flatMap(({ scope }) => scope.split(' ')))]

function privateKey (alg, type, options) {
  const { privateKey } = generateKeyPairSync(type, options)
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-1` }
}

const configuration = {
  clients: known.map(({ id, secret, scope }) => ({
    client_id: id,
    client_secret: secret,
    scope,
    token_endpoint_auth_method: 'client_secret_post',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: []
  })),
  scopes,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (context, resource) => ({
        audience: resource,
        scope: scopes.join(' '),
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: byId[context.oidc.client.clientId].algorithm } }
      })
    }
  },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
  extraTokenClaims: (context, token) => ({ tenant: byId[token.clientId].tenant }),
  routes: { jwks: '/jwks.json' },
  jwks: {
    keys: [
      privateKey('RS256', 'rsa', { modulusLength: 2048 }),
      privateKey('ES256', 'ec', { namedCurve: 'P-256' }),
      privateKey('EdDSA', 'ed25519', {})
    ]
  }
}

const server = createServer()
server.listen(process.env.OIDC_PORT, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  server.on('request', new Provider(issuer, configuration).callback())
  console.log(`serving as ${issuer}`)
})
