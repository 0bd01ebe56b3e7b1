import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { homeOf, leaseScopeOf, type Member } from './handler-homes.ts'

const member = (memberId: string, handlers: string, startedMs = 0): Member => {
  return { memberId, process: memberId, handlers: [...handlers], startedAt: new Date(startedMs) }
}
const homes = (members: readonly Member[]) =>
  Object.fromEntries(members.map(({ memberId }) => [memberId, homeOf(memberId, members).handlers.join('')]))

describe('which reactor works on which handlers', () => {
  it.each([
    ['alone, it works on all', [member('a', 'xy')], { a: 'xy' }],
    ['those with the same ones work on all', [member('a', 'xy'), member('b', 'yx')], { a: 'xy', b: 'yx' }],
    ['each with handlers of its own gets these', [member('a', 'x'), member('b', 'y')], { a: 'x', b: 'y' }],
    ['what both have is with the one started last', [member('a', 'xc', 1), member('b', 'yc', 2)], { a: 'x', b: 'yc' }],
    ['or with the one that has more', [member('a', 'xzc', 1), member('b', 'yc', 2)], { a: 'xzc', b: 'y' }],
    ['one that has nothing of its own stands by', [member('a', 'x', 2), member('b', 'xy', 1)], { a: '', b: 'xy' }],
    ['one without handlers has none', [member('a', ''), member('b', 'x')], { a: '', b: 'x' }],
  ])('%s', (_, members, expected) => {
    expect(homes(members)).toEqual(expected)
  })

  it('gives every handler to reactors of one set, all of them alike, whoever asks', () => {
    const some = fc.array(fc.tuple(fc.subarray(['a', 'b', 'c', 'd']), fc.nat(3)), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(some, (given) => {
        const members = given.map(([handlers, at], i) => member(`m${i}`, handlers.join(''), at))
        for (const handler of new Set(members.flatMap(({ handlers }) => handlers))) {
          const working = members.filter(({ memberId }) => homeOf(memberId, members).handlers.includes(handler))
          const [first] = working
          expect(working).toEqual(homeOf(first?.memberId ?? '', members).peers)
          expect(working.length).toBeGreaterThan(0)
        }
      }),
    )
  })

  it('has one set of reactors that does what is to be done once', () => {
    const members = [member('a', 'x', 1), member('b', 'y', 2), member('c', 'y', 0), member('d', 'x', 0)]
    expect(members.filter(({ memberId }) => homeOf(memberId, members).isFirst).map(({ memberId }) => memberId)).toEqual(
      ['b', 'c'],
    )
  })

  it('names the leases by the handlers, in whichever order they are registered', () => {
    expect(leaseScopeOf('g', ['a', 'b'])).toBe(leaseScopeOf('g', ['b', 'a']))
    expect(leaseScopeOf('g', ['a,b'])).not.toBe(leaseScopeOf('g', ['a', 'b']))
  })
})
