import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AppError } from './app-error.ts'
import { GroupCommit, type GroupCommitOptions } from './group-commit.ts'

const isRetryable = (error: unknown) => error instanceof AppError && error.kind === 'retryable'
const away = () => new AppError('DATABASE_UNREACHABLE', 'it is away')

function groupOf<Item, Result>(
  options: Partial<GroupCommitOptions<Item, Result>> & Pick<GroupCommitOptions<Item, Result>, 'flush'>,
) {
  return new GroupCommit<Item, Result>({
    name: 'items',
    batchMax: 8,
    flushersMax: 1,
    queueMax: 1_000,
    retryForMs: 1_000,
    isRetryable,
    random: () => 0,
    ...options,
  })
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('a group commit', () => {
  it('takes what one turn adds together, and what comes meanwhile as the next batch', async () => {
    const batches: number[][] = []
    const first = Promise.withResolvers<void>()
    const group = groupOf<number, number>({
      flush: async (items) => {
        batches.push([...items])
        if (batches.length === 1) await first.promise
        return items
      },
    })
    const early = [group.add(1), group.add(2)]
    await turn()
    const late = [3, 4, 5].map((item) => group.add(item))
    await turn()
    expect(batches).toEqual([[1, 2]])
    expect(group.pending).toBe(3)
    first.resolve()
    await Promise.all([...early, ...late])
    expect(batches).toEqual([
      [1, 2],
      [3, 4, 5],
    ])
  })

  it('gives each caller its own result, in batches of at most the bound, in the order of arrival', async () => {
    const flushed: number[] = []
    const sizes: number[] = []
    const group = groupOf<number, string>({
      flush: async (items) => {
        sizes.push(items.length)
        flushed.push(...items)
        await turn()
        return items.map((item) => `result ${item}`)
      },
    })
    const items = Array.from({ length: 50 }, (_, i) => i)
    expect(await Promise.all(items.map((item) => group.add(item)))).toEqual(items.map((item) => `result ${item}`))
    expect(flushed).toEqual(items)
    expect(Math.max(...sizes)).toBe(8)
  })

  it('lets poisoned items fail alone, each with its own error, whatever else is in their batch', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 16 }),
        fc.integer({ min: 1, max: 3 }),
        async (poisoned, batchMax, flushersMax) => {
          const committed: number[] = []
          const group = groupOf<number, number>({
            batchMax,
            flushersMax,
            flush: async (items) => {
              await turn()
              const bad = items.find((item) => poisoned[item])
              if (bad !== undefined) throw new Error(`poison ${bad}`)
              committed.push(...items)
              return items.map((item) => item * 2)
            },
          })
          const settled = await Promise.allSettled(poisoned.map((_, item) => group.add(item)))
          settled.forEach((result, item) => {
            if (poisoned[item])
              expect(result).toMatchObject({ status: 'rejected', reason: { message: `poison ${item}` } })
            else expect(result).toEqual({ status: 'fulfilled', value: item * 2 })
          })
          expect(committed.toSorted((a, b) => a - b)).toEqual(poisoned.flatMap((bad, item) => (bad ? [] : [item])))
        },
      ),
      { numRuns: 60 },
    )
  })

  it('flushes the same batch again while the database is away, and nothing is lost', async () => {
    let tries = 0
    const group = groupOf<number, number>({
      flush: async (items) => {
        if (++tries < 4) throw away()
        return items
      },
    })
    expect(await Promise.all([group.add(1), group.add(2)])).toEqual([1, 2])
    expect(tries).toBe(4)
  })

  it('gives up after its patience, without splitting: every caller gets the error', async () => {
    let tries = 0
    const group = groupOf<number, number>({
      retryForMs: 0,
      flush: async () => {
        tries++
        throw away()
      },
    })
    const settled = await Promise.allSettled([group.add(1), group.add(2), group.add(3)])
    expect(settled.map((result) => result.status === 'rejected' && result.reason.code)).toEqual(
      Array(3).fill('DATABASE_UNREACHABLE'),
    )
    expect(tries).toBeLessThanOrEqual(2)
  })

  it('flushes once more at least: a process that stood still meanwhile has not tried', async () => {
    let tries = 0
    const group = groupOf<number, number>({
      retryForMs: 0,
      flush: async (items) => {
        await turn()
        if (++tries === 1) throw away()
        return items
      },
    })
    expect(await Promise.all([group.add(1), group.add(2)])).toEqual([1, 2])
    expect(tries).toBe(2)
  })

  it('refuses more than its queue holds with QUEUE_FULL, and takes more once there is room', async () => {
    const held = Promise.withResolvers<void>()
    const group = groupOf<number, number>({
      queueMax: 3,
      flush: async (items) => {
        await held.promise
        return items
      },
    })
    const accepted = [1, 2, 3].map((item) => group.add(item))
    await expect(group.add(4)).rejects.toMatchObject({ code: 'QUEUE_FULL', kind: 'retryable' })
    await turn()
    accepted.push(group.add(5))
    held.resolve()
    expect(await Promise.all(accepted)).toEqual([1, 2, 3, 5])
  })

  it('has no more flushes under way than allowed', async () => {
    const held = Promise.withResolvers<void>()
    let underWay = 0
    const group = groupOf<number, number>({
      batchMax: 2,
      flushersMax: 3,
      flush: async (items) => {
        underWay++
        await held.promise
        return items
      },
    })
    const added = Array.from({ length: 40 }, (_, item) => group.add(item))
    for (let i = 0; i < 10; i++) await turn()
    expect(underWay).toBe(3)
    held.resolve()
    await Promise.all(added)
    expect(underWay).toBe(20)
  })

  it('goes on after a failure', async () => {
    let broken = true
    const group = groupOf<number, number>({
      flush: async (items) => {
        if (broken) throw new Error('broken')
        return items
      },
    })
    await expect(group.add(1)).rejects.toThrow('broken')
    broken = false
    expect(await group.add(2)).toBe(2)
  })
})
