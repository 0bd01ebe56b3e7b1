import { expect, test } from 'vitest'
import { inOrder } from './in-order.ts'

test('what becomes known out of order is told in order, as soon as nothing can come before it', () => {
  const told: string[] = []
  const { known, flush } = inOrder<string>((text) => told.push(text))
  known(3, 'three')
  known(1, null)
  expect(told).toEqual([])
  known(2, 'two')
  expect(told).toEqual(['two', 'three'])
  known(7, 'seven')
  known(6, 'six')
  flush()
  expect(told).toEqual(['two', 'three', 'six', 'seven'])
})
