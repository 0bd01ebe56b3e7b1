import { BlockList, isIP } from 'node:net'

/** IPv4 ranges that are not the public internet: the IANA special-purpose registry, multicast, and what is reserved. */
const SPECIAL_IPV4: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8], // this host
  ['10.0.0.0', 8], // private
  ['100.64.0.0', 10], // carrier-grade NAT
  ['127.0.0.0', 8], // loopback
  ['169.254.0.0', 16], // link-local, cloud metadata
  ['172.16.0.0', 12], // private
  ['192.0.0.0', 24], // protocol assignments
  ['192.0.2.0', 24], // documentation
  ['192.88.99.0', 24], // 6to4 relays
  ['192.168.0.0', 16], // private
  ['198.18.0.0', 15], // benchmarks
  ['198.51.100.0', 24], // documentation
  ['203.0.113.0', 24], // documentation
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, broadcast
]

/** Ranges inside the global IPv6 space that lead elsewhere. */
const SPECIAL_IPV6: readonly (readonly [network: string, prefix: number])[] = [
  ['2001::', 23], // protocol assignments, Teredo
  ['2001:db8::', 32], // documentation
  ['2002::', 16], // 6to4: an IPv4 address in disguise
  ['3fff::', 20], // documentation
]

/** Answers whether an IP address belongs to the public internet. What is not an address at all does not. */
export type AddressCheck = (address: string) => boolean

export function publicAddressCheck(): AddressCheck {
  const specialIpv4 = new BlockList()
  for (const [network, prefix] of SPECIAL_IPV4) specialIpv4.addSubnet(network, prefix, 'ipv4')
  const globalIpv6 = new BlockList()
  globalIpv6.addSubnet('2000::', 3, 'ipv6')
  const specialIpv6 = new BlockList()
  for (const [network, prefix] of SPECIAL_IPV6) specialIpv6.addSubnet(network, prefix, 'ipv6')

  return (address) => {
    if (isIP(address) === 4) return !specialIpv4.check(address, 'ipv4')
    // Only global unicast is let through, so mapped, translated, local and future ranges are refused unnamed.
    return isIP(address) === 6 && globalIpv6.check(address, 'ipv6') && !specialIpv6.check(address, 'ipv6')
  }
}
